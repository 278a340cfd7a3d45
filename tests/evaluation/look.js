// Runs in the page under test; returns a list of faults. Part of browser.py.
() => {
  const faults = [];
  const root = document.documentElement;
  const name = (e) => `<${e.tagName.toLowerCase()}${e.className && e.className.baseVal === undefined ? "." + e.className : ""}>`;

  // layout
  if (root.scrollWidth > innerWidth) faults.push(`overflow: the document is ${root.scrollWidth} wide in ${innerWidth}`);
  for (const image of document.images)
    if (!(image.complete && image.naturalWidth > 0)) faults.push(`image: not drawn, ${image.alt}`);
  for (const drawing of document.querySelectorAll("svg"))
    if (!(drawing.getBoundingClientRect().height > 20)) faults.push("image: a drawing without height");

  // structure
  if (root.lang !== "en") faults.push("structure: no language");
  for (const link of document.querySelectorAll("a[href]:not([download])"))
    if (!document.getElementById(link.getAttribute("href").slice(1))) faults.push(`structure: dead link ${link.href}`);
  for (const e of document.querySelectorAll("img, svg"))
    if (!(e.getAttribute("alt") || e.getAttribute("aria-label"))) faults.push(`structure: ${name(e)} has no alternative`);
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    const own = Number(heading.tagName[1]);
    if (own > level + 1) faults.push(`structure: ${name(heading)} after level ${level}`);
    level = own;
  }
  if (document.querySelectorAll("h1").length !== 1) faults.push("structure: not one h1");
  for (const table of document.querySelectorAll("table")) {
    const region = table.closest("[role=region][aria-label]");
    if (!table.caption && !table.ariaLabel && !(region && region.querySelectorAll("table").length === 1))
      faults.push("structure: a table without a name");
    for (const head of table.querySelectorAll("th"))
      if (!["row", "col"].includes(head.scope)) faults.push(`structure: th without scope, ${head.textContent}`);
  }

  // contrast
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below, alpha = 1) => {
    const a = top[3] * alpha;
    return [0, 1, 2].map((i) => top[i] * a + below[i] * (1 - a)).concat(1);
  };
  const behind = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const opacity = (e) => {
    let all = 1;
    for (let at = e; at; at = at.parentElement) all *= Number(getComputedStyle(at).opacity);
    return all;
  };
  const light = (c) =>
    [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
      const v = c[i] / 255;
      return sum + weight * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    }, 0);
  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const check = (e, colour, alpha, least, what) => {
    const ground = behind(e);
    const ratio = contrast(over(rgba(colour), ground, alpha), ground);
    if (ratio < least) faults.push(`contrast: ${ratio.toFixed(2)} of ${name(e)} ${what}`);
  };
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const e = node.parentElement;
    if (!node.data.trim() || !e.checkVisibility() || e.closest("style, script, .hidden")) continue;
    texts += 1;
    const style = getComputedStyle(e);
    check(e, e.closest("svg") ? style.fill : style.color, opacity(e), 4.5, `“${node.data.trim().slice(0, 30)}”`);
  }
  if (texts < 20) faults.push(`contrast: only ${texts} texts were seen`);
  const line = rgba(getComputedStyle(root).getPropertyValue("--line")).join();
  for (const e of document.querySelectorAll("svg path, svg use")) {
    if (e.closest("defs, clipPath")) continue;
    const style = getComputedStyle(e);
    if (style.stroke === "none" || rgba(style.stroke).join() === line) continue;
    check(e, style.stroke, opacity(e) * Number(style.strokeOpacity), 3, "in a drawing");
  }
  return faults;
}
