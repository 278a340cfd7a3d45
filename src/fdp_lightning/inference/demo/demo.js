"use strict";
// The demo's page. Nothing here turns text into HTML: file names and messages only ever become text nodes.

const at = (id) => document.getElementById(id);
const main = document.querySelector("main");
const MOST = Number(main.dataset.mostBytes);
const RECORD_MS = 1900; // a video longer than two seconds would be scanned

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties))
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// ---- asking

let busy = false;
let since = 0;
setInterval(() => (at("clock").textContent = busy ? `${Math.round((performance.now() - since) / 1000)} s` : ""), 500);

function wait(doing) {
  busy = Boolean(doing);
  since = performance.now();
  at("doing").textContent = doing;
  at("wait").hidden = !busy;
  main.setAttribute("aria-busy", busy);
  for (const id of ["choose", "camera", "try", "try-2", "record"]) at(id).disabled = busy;
}

function complain(words) {
  at("error").hidden = !words;
  at("error").textContent = words;
}

async function ask(video, name) {
  if (busy) return;
  complain("");
  forget();
  if (video.size > MOST) {
    complain(`${name} has ${Math.round(video.size / 1e6)} MB; at most ${MOST / 1e6} MB are accepted. Cut out the relevant part.`);
    return;
  }
  wait("Reading the video, finding the face, running the model …");
  try {
    const answer = await fetch("/predict", {
      method: "POST",
      body: video,
      headers: { "Content-Type": "application/octet-stream", "X-Name": encodeURIComponent(name) },
    });
    const prediction = await answer.json();
    if (answer.ok) show(prediction, video);
    else complain(prediction.error);
  } catch (error) {
    complain("The demo does not respond. Is it still running in its terminal?");
    console.info(error);
  } finally {
    wait("");
  }
}

at("choose").onclick = () => at("file").click();
at("file").onchange = (event) => {
  const [file] = event.target.files;
  event.target.value = ""; // so that choosing the same file again counts as a change
  if (file) ask(file, file.name);
};
for (const button of [at("try"), at("try-2")])
  button.onclick = async () => {
    if (busy) return;
    complain("");
    wait("Drawing a synthetic clip …");
    let film = null;
    try {
      const answer = await fetch(button.dataset.film);
      if (answer.ok) film = await answer.blob();
    } catch (error) {
      console.info(error);
    }
    wait("");
    if (film) await ask(film, "synthetic clip");
    else complain("The demo could not draw a clip; see its terminal for the reason.");
  };
for (const kind of ["dragenter", "dragover", "dragleave", "drop"])
  document.addEventListener(kind, (event) => {
    event.preventDefault(); // a video dropped outside the field must not replace the page
    const over = event.target instanceof Node && at("drop").contains(event.target);
    at("drop").classList.toggle("over", over && kind !== "dragleave" && kind !== "drop");
    if (kind === "drop" && event.dataTransfer.files.length) ask(event.dataTransfer.files[0], event.dataTransfer.files[0].name);
  });

// ---- the camera

let camera = null;
let recorder = null;
let session = 0; // a countdown must not start recording after its camera was closed

function closeCamera() {
  session += 1;
  if (recorder && recorder.state !== "inactive") recorder.stop();
  if (camera) for (const track of camera.getTracks()) track.stop();
  camera = recorder = null;
  at("preview").srcObject = null;
  at("count").textContent = "";
  at("studio").hidden = true;
  at("record").textContent = "Record 2 seconds";
}

at("camera").onclick = async () => {
  complain("");
  closeCamera();
  const own = session;
  try {
    if (!navigator.mediaDevices || !window.MediaRecorder) throw new DOMException("", "NotSupportedError");
    const video = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 60 }, facingMode: "user" };
    const opened = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    if (own !== session) return opened.getTracks().forEach((track) => track.stop());
    camera = opened;
  } catch (error) {
    const words = {
      NotAllowedError: "Access to the camera was denied. Allow it in the browser's address bar, or choose a video.",
      NotFoundError: "There is no camera on this computer. Choose a video instead.",
      NotReadableError: "The camera is in use by another program. Close it, or choose a video.",
      NotSupportedError: "This browser cannot record. Choose a video instead.",
    };
    complain(words[error.name] || `The camera could not be opened (${error.name}). Choose a video instead.`);
    return;
  }
  at("preview").srcObject = camera;
  at("studio").hidden = false;
  at("preview").play().catch(console.info);
  at("record").focus();
};
at("leave").onclick = () => {
  closeCamera();
  at("camera").focus();
};
at("record").onclick = async () => {
  if (recorder) return recorder.stop();
  const own = session;
  const label = at("record");
  label.disabled = true;
  for (const number of [3, 2, 1]) {
    at("count").textContent = number;
    await new Promise((done) => setTimeout(done, 700));
    if (own !== session) return (label.disabled = busy);
  }
  const types = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm", "video/mp4"];
  const mimeType = types.find((type) => MediaRecorder.isTypeSupported(type));
  const pieces = [];
  recorder = new MediaRecorder(camera, { mimeType, videoBitsPerSecond: 12e6 });
  recorder.ondataavailable = (event) => {
    if (!event.data.size) return; // a slow computer needs a while for its first image
    pieces.push(event.data);
    label.disabled = false;
  };
  recorder.onstop = () => {
    const whole = own === session;
    closeCamera();
    label.disabled = busy;
    if (whole && pieces.length) ask(new Blob(pieces, { type: mimeType }), "recording");
    else if (whole) complain("The camera returned no images. Try again, or choose a video.");
  };
  const running = recorder;
  recorder.onstart = () => setTimeout(() => running.state !== "inactive" && running.stop(), RECORD_MS);
  recorder.start(100);
  at("count").textContent = "●";
  label.textContent = "Stop";
};
addEventListener("pagehide", closeCamera);

// ---- showing

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const seconds = (value) => `${value.toFixed(2)} s`;
const momentsOf = (clip) => (clip.seconds ? seconds : (number) => `frame ${number.toFixed(0)}`);
const CHART = 240;

let redraw = [];
new ResizeObserver(() => redraw.forEach((each) => each())).observe(main);

let urls = [];
let ticking = 0; // the timer of the aligned frames

function forget() {
  at("result").hidden = true;
  at("shown").replaceChildren();
  redraw = [];
  for (const url of urls) URL.revokeObjectURL(url);
  urls = [];
  clearTimeout(ticking);
}

// The address of a file that the page created or received, valid until the next result.
function addressOf(blob) {
  urls.push(URL.createObjectURL(blob));
  return urls[urls.length - 1];
}

function show(prediction, video) {
  const clip = prediction.kind === "scan" ? prediction.strongest : prediction;
  const shown = at("shown");
  at("result-title").textContent = prediction.kind === "scan" ? "A scan, not a spotting result" : `Prediction: ${clip.class || "no action unit"}`;
  shown.append(make("p", { className: "name" }, described(prediction)));
  const warnings = [...new Set([...prediction.warnings, ...clip.warnings])];
  if (warnings.length) shown.append(make("ul", { className: "warnings" }, ...warnings.map((words) => make("li", {}, words))));
  const seen = player(clip, addressOf(video));
  shown.append(saving(prediction));
  if (prediction.kind === "scan") shown.append(...timeline(prediction, seen.jump));
  shown.append(
    make(
      "div",
      { className: "split" },
      make("div", {}, make("h3", {}, "The video"), seen.figure, make("h3", {}, "The face, aligned"), aligned(clip)),
      make("div", {}, make("h3", {}, "Probabilities"), bars(clip)),
    ),
    ...declared(clip),
    numbers(prediction, clip),
  );
  at("result").hidden = false;
  redraw.forEach((each) => each());
  at("result-title").focus({ preventScroll: true });
  at("result").scrollIntoView({ block: "start" });
}

function described(prediction) {
  if (prediction.kind === "scan") return `${prediction.clip}, ${seconds(prediction.seconds)}, ${prediction.length} frames, ${prediction.windows.length} windows`;
  return `${prediction.clip}: ${prediction.length} frames, which the model saw at ${prediction.frames_used.length} moments`;
}

function player(clip, film) {
  const video = make("video", { src: film, controls: true, loop: true, muted: true, playsInline: true, "aria-label": "The input video" });
  const box = make("div", { className: "face", hidden: true });
  const [left, top, right, bottom] = clip.face.box;
  video.onloadedmetadata = () => {
    if (clip.seconds && clip.seconds[0] > 0) video.currentTime = clip.seconds[0]; // in a scan, the start of the window that is shown
    const [width, height] = [video.videoWidth / 100, video.videoHeight / 100];
    if (!width || clip.face.confidence === null) return;
    box.style.left = `${left / width}%`;
    box.style.top = `${top / height}%`;
    box.style.width = `${(right - left) / width}%`;
    box.style.height = `${(bottom - top) / height}%`;
    box.hidden = false;
  };
  const frame = make("div", { className: "film" }, video, box);
  const words = make("figcaption", {}, `The white box is the face by which the clip is aligned; it was found in frame ${clip.face.found_on_frame}.`);
  video.onerror = () => {
    frame.hidden = true;
    words.textContent = "This browser cannot play this kind of video, but the model could read it. The frames that the model saw play below.";
  };
  const jump = (time) => {
    video.pause();
    video.currentTime = time;
    box.hidden = true; // it marks the face at another moment
    if (!frame.hidden) video.scrollIntoView({ block: "nearest" });
  };
  return { figure: make("figure", {}, frame, words), jump };
}

const SLOWER = 6; // a micro-expression lasts half a second at most

// The frames that the model saw, which play in every browser.
function aligned(clip) {
  const last = clip.frames.length - 1;
  const moments = clip.seconds || clip.frames_used;
  const face = make("img", { className: "aligned", alt: "The aligned face at the moment chosen below" });
  const place = make("input", { type: "range", min: 0, max: last, step: 1, value: 0, "aria-label": "Moment of the clip" });
  const words = make("span", { className: "quiet" });
  const button = make("button", { type: "button" }, "Play");
  const turn = (i) => {
    place.value = i;
    face.src = clip.frames[i];
    words.textContent = momentsOf(clip)(moments[i]);
    place.setAttribute("aria-valuetext", words.textContent);
  };
  const stop = () => {
    clearTimeout(ticking);
    button.textContent = "Play";
  };
  const step = () => {
    const next = Number(place.value) === last ? 0 : Number(place.value) + 1;
    turn(next);
    const lasts = clip.seconds && next < last ? (moments[next + 1] - moments[next]) * 1000 * SLOWER : next === last ? 1200 : 300;
    ticking = setTimeout(step, Math.min(1500, Math.max(40, lasts)));
  };
  button.onclick = () => {
    if (button.textContent === "Pause") return stop();
    button.textContent = "Pause";
    step();
  };
  place.oninput = () => {
    stop();
    turn(Number(place.value));
  };
  turn(0);
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) button.click();
  const slow = clip.seconds ? `, slowed down ${SLOWER} times` : "";
  const caption = make("figcaption", {}, `What the model saw: ${last + 1} moments, rotated and cropped to the face${slow}.`);
  return make("figure", {}, face, make("div", { className: "film-of" }, button, place, words), caption);
}

// ---- saving

function saving(prediction) {
  const name = prediction.clip.replace(/[^\w.-]+/g, "_") || "clip";
  const link = (kind, href, suffix) => make("a", { href, download: `${name}.${suffix}` }, kind);
  const facts = JSON.stringify(prediction, (key, value) => (key === "frames" || key === "sections" ? undefined : value), 1);
  const text = (content, type) => addressOf(new Blob([content], { type }));
  return make(
    "p",
    { className: "saving" },
    "Save: ",
    link("JSON", text(facts + "\n", "application/json"), "json"),
    link("CSV", text(table(prediction), "text/csv"), "csv"),
    make("button", { type: "button", className: "go", onclick: () => picture(prediction).then((href) => link("", href, "png").click()) }, "image"),
  );
}

// The result as one image, light regardless of the page's scheme: frames, probabilities, and the first curve.
async function picture(prediction) {
  const clip = prediction.kind === "scan" ? prediction.strongest : prediction;
  const frames = await Promise.all(
    clip.frames.map(async (src) => {
      const image = make("img", { src });
      await image.decode();
      return image;
    }),
  );
  const shares = Object.entries(clip.probabilities);
  const curve = clip.sections.flatMap((section) => section.extras).find((extra) => extra.kind === "curve");
  const paper = make("canvas", { width: 1200, height: Math.max(460, 250 + 30 * shares.length) });
  const pen = paper.getContext("2d");
  const write = (words, x, y, font = "16px sans-serif", colour = "#1b1f24") => Object.assign(pen, { font, fillStyle: colour }).fillText(words, x, y, 1160);
  Object.assign(pen, { fillStyle: "#fff" }).fillRect(0, 0, paper.width, paper.height);
  const when = prediction.kind === "scan" ? `, strongest window from ${seconds(clip.seconds[0])}` : "";
  write(`${clip.clip}${when}: ${clip.class || "no action unit"}`, 20, 36, "bold 22px sans-serif");
  const size = Math.min(140, 1160 / frames.length);
  frames.forEach((image, i) => pen.drawImage(image, 20 + i * size, 56, size - 4, size - 4));
  shares.forEach(([name, share], i) => {
    const y = 232 + 30 * i;
    write(name, 20, y);
    Object.assign(pen, { fillStyle: chosenOf(clip).has(name) ? "#b4491a" : "#1d5fa8" }).fillRect(190, y - 14, 260 * share, 18);
    write(percent(share), 460, y);
  });
  if (curve) {
    write(curve.title, 600, 226, "16px sans-serif", "#59626d");
    const [low, high] = [Math.min(...curve.values), Math.max(...curve.values)];
    Object.assign(pen, { strokeStyle: "#1d5fa8", lineWidth: 3 }).beginPath();
    curve.values.forEach((value, i) => pen.lineTo(600 + (560 * i) / (curve.values.length - 1 || 1), 390 - (140 * (value - low)) / (high - low || 1)));
    pen.stroke();
  }
  write(`${document.querySelector(".facts dd").textContent}. ${document.querySelector(".judge strong").textContent}`, 20, paper.height - 20, "14px sans-serif", "#59626d");
  return addressOf(await new Promise((done) => paper.toBlob(done)));
}

// One row per window of a scan, or one for a clip.
function table(prediction) {
  const scan = prediction.kind === "scan";
  const names = Object.keys((scan ? prediction.strongest : prediction).probabilities);
  const cell = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  const row = (one, start, end) => [
    prediction.clip,
    start,
    end,
    one.class === null ? "" : one.class,
    ...names.map((name) => (one.probabilities ? one.probabilities[name] : "")),
    one.motion === null ? "" : one.motion,
  ];
  const head = ["clip", "start_s", "end_s", "class", ...names.map((name) => `prob_${name}`), "motion"];
  const times = prediction.seconds || [""];
  const rows = scan ? prediction.windows.map((each) => row(each, each.start, each.end)) : [row(prediction, times[0], times[times.length - 1])];
  return [head, ...rows].map((cells) => cells.map(cell).join(",") + "\n").join("");
}

// The prediction: a class, or action units joined by +.
const chosenOf = (clip) => new Set([clip.class, ...clip.class.split("+")]);

function bars(clip) {
  const chosen = chosenOf(clip);
  const list = make("dl", { className: "bars" });
  for (const [name, share] of Object.entries(clip.probabilities)) {
    const mark = chosen.has(name) ? "chosen" : "";
    const bar = make("b", { className: mark });
    bar.style.width = percent(share).replace(" ", "");
    const value = make("dd", { className: mark }, percent(share));
    value.dataset.value = share;
    list.append(make("div", {}, make("dt", { className: mark }, name), make("i", { "aria-hidden": "true" }, bar), value));
  }
  return list;
}

// A chart whose units are the page's pixels, so that its text keeps its size at any width.
function chart(label, paint) {
  const svg = draw("svg", { role: "img", "aria-label": label });
  redraw.push(() => {
    const width = svg.parentElement ? svg.parentElement.clientWidth : 0;
    if (!width) return;
    svg.replaceChildren();
    const height = paint(svg, width);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", height);
  });
  return svg;
}

const line = (x1, y1, x2, y2, name = "grid") => draw("path", { d: `M${x1} ${y1}L${x2} ${y2}`, class: name });

// The recogniser's outputs other than its class, one section per heading. The frames are below the first curve.
function declared(clip) {
  const drawn = [];
  let framed = false;
  for (const section of clip.sections) {
    const of = (kind) => section.extras.filter((extra) => extra.kind === kind);
    const parts = [];
    for (const curve of of("curve")) {
      parts.push(...curveOf(clip, curve));
      framed = true;
    }
    const picture = ({ image, title }) => make("div", {}, make("img", { src: image, alt: `${section.heading}, ${title}` }), title);
    if (of("image").length) parts.push(make("div", { className: "pair" }, ...of("image").map(picture)));
    if (of("scalar").length) {
      const list = make("dl", { className: "numbers" });
      for (const { title, texts } of of("scalar")) list.append(make("dt", {}, title), make("dd", {}, ...texts));
      parts.push(list);
    }
    if (section.note) parts.push(make("figcaption", {}, section.note));
    drawn.push(make("figure", {}, make("h3", {}, section.heading), ...parts));
  }
  return framed ? drawn : [make("figure", {}, make("h3", {}, "Frames"), ...curveOf(clip, null)), ...drawn];
}

// A curve with the frames below it, or only the frames.
function curveOf(clip, curve) {
  const places = clip.seconds || clip.frames_used;
  const unit = momentsOf(clip);
  const { values, texts } = curve || {};
  const caption = values
    ? `${curve.title[0].toUpperCase()}${curve.title.slice(1)} over time, at each moment that the model saw. Below: the aligned frames of these moments.`
    : "The aligned frames that the model saw.";
  const label = values ? `${curve.title} over time: ${texts.join(", ")}` : "The frames that the model saw";
  const svg = chart(label, (svg, width) => {
    const n = places.length;
    const [left, right] = [56, width - 4];
    // As many frames as are large enough to recognise, including the first and the last.
    const slots = Math.min(n, Math.max(2, Math.floor((right - left) / 40)));
    const pictured = Array.from({ length: slots }, (_, i) => Math.round((i * (n - 1)) / Math.max(1, slots - 1)));
    const slot = Math.min(110, (right - left) / slots);
    // The curve runs from the middle of the first frame to the middle of the last.
    const inner = [left + slot / 2, left + slot / 2 + (slots - 1) * slot];
    const x = (place) => inner[0] + ((place - places[0]) / (places[n - 1] - places[0] || 1)) * (inner[1] - inner[0]);
    const bottom = values ? CHART - 50 : 8;
    if (values) {
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const y = (value) => bottom - 8 - ((value - low) / (high - low || 1)) * (bottom - 24);
      for (const i of new Set([values.indexOf(low), values.indexOf(high)])) {
        svg.append(line(left, y(values[i]), inner[1] + slot / 2, y(values[i])));
        svg.append(draw("text", { x: left - 6, y: y(values[i]) + 4, "text-anchor": "end" }, texts[i].replace("-", "−")));
      }
      for (let i = 0; i < slots; i++) svg.append(line(x(places[pictured[i]]), bottom, inner[0] + i * slot, bottom + 22));
      // One value per moment, or else evenly spaced values.
      const span = (i) => places[0] + (i / (values.length - 1 || 1)) * (places[n - 1] - places[0]);
      const when = values.length === n ? places : values.map((_, i) => span(i));
      svg.append(draw("path", { class: "curve", d: "M" + values.map((value, i) => `${x(when[i])} ${y(value)}`).join("L") }));
      values.forEach((value, i) => {
        const title = draw("title", {}, `${unit(when[i])}: ${texts[i]}`);
        svg.append(draw("circle", { class: "dot", cx: x(when[i]), cy: y(value), r: 3.5 }, title));
      });
    }
    const size = slot - 3;
    const top = values ? bottom + 24 : 8;
    for (let i = 0; i < slots; i++) {
      const middle = inner[0] + i * slot;
      svg.append(draw("image", { href: clip.frames[pictured[i]], x: middle - size / 2, y: top, width: size, height: size }));
      // As many labels as fit next to each other.
      const gap = Math.ceil(52 / slot);
      if (i % gap === 0 && (i + gap <= slots || i === slots - 1))
        svg.append(draw("text", { x: middle, y: top + size + 16, "text-anchor": "middle" }, unit(places[pictured[i]])));
    }
    return top + size + 24;
  });
  return [svg, make("figcaption", {}, caption)];
}

function numbers(prediction, clip) {
  const list = make("dl", { className: "numbers" });
  const add = (term, words) => list.append(make("dt", {}, term), make("dd", {}, words));
  const { face, timing } = clip;
  add("face", face.confidence === null ? "not detected; the whole image" : face.box.map((edge) => edge.toFixed(0)).join(", ") + " (left, top, right, bottom)");
  if (face.confidence !== null) add("face confidence", `${face.confidence.toFixed(3)}; number of faces in frame ${face.found_on_frame}: ${face.faces_there}`);
  add("frames used", clip.frames_used.map((number) => Number(number.toFixed(2))).join(", "));
  add("motion", clip.motion.toFixed(4));
  for (const [part, took] of Object.entries({ ...timing, ...prediction.timing })) add(`time: ${part}`, seconds(took));
  return make("details", {}, make("summary", {}, "Numbers"), list);
}

// ---- a scan

function timeline(prediction, jump) {
  const names = Object.keys(prediction.strongest.probabilities);
  const windows = prediction.windows;
  const strongest = windows.reduce((most, window) => ((window.motion ?? -1) > (most.motion ?? -1) ? window : most));
  let chosen = -1;
  const about = make("p", { className: "quiet", role: "status" }, "Choose a window in the chart, or in the table below it, to jump to it in the video.");
  const choose = (i) => {
    const { start, end, motion, class: label } = windows[i];
    chosen = i;
    about.textContent =
      `${seconds(start)} to ${seconds(end)}: ` +
      (label === null ? "no face on its first frame." : `${label || "no action unit"}${label in windows[i].probabilities ? ` ${percent(windows[i].probabilities[label])}` : ""}, motion ${motion.toFixed(4)}.`);
    jump(start);
    redraw.forEach((each) => each());
  };
  const svg = chart(`Probability of ${names.join(", ")} and motion in ${windows.length} windows over ${seconds(prediction.seconds)}`, (svg, width) => {
    const left = Math.min(120, width / 3);
    const right = width - 4;
    const stop = windows[windows.length - 1].end;
    const x = (time) => left + ((time - windows[0].start) / (stop - windows[0].start || 1)) * (right - left);
    const until = (i) => x(i + 1 < windows.length ? windows[i + 1].start : stop);
    const span = (i, least) => ({ x: x(windows[i].start), width: Math.max(least, until(i) - x(windows[i].start)) });
    const row = 24;
    names.forEach((name, k) => {
      const short = name.length > 16 ? `${name.slice(0, 15)}…` : name;
      svg.append(draw("text", { x: left - 8, y: k * row + 16, "text-anchor": "end" }, short, draw("title", {}, name)));
      windows.forEach((window, i) => {
        const look = window.class === null ? { class: "none" } : { class: "cell", "fill-opacity": (0.04 + 0.96 * window.probabilities[name]).toFixed(3) };
        svg.append(draw("rect", { ...span(i, 0.5), y: k * row, height: row - 2, ...look }));
      });
    });
    const [top, bottom] = [names.length * row + 14, names.length * row + 74];
    const y = (motion) => bottom - (motion / (strongest.motion || 1)) * (bottom - top);
    svg.append(line(left, bottom, right, bottom), draw("text", { x: left - 8, y: bottom, "text-anchor": "end" }, "motion"));
    let path = "";
    windows.forEach((window, i) => {
      if (window.class !== null) path += `M${x(window.start)} ${y(window.motion)}H${until(i)}`;
    });
    svg.append(draw("path", { class: "curve motion", d: path }));
    svg.append(draw("rect", { ...span(windows.indexOf(strongest), 3), y: 0, height: bottom, class: "here" }));
    if (chosen >= 0) svg.append(draw("rect", { ...span(chosen, 3), y: 0, height: bottom, class: "chosen" }));
    windows.forEach((window, i) => {
      const all = names.map((name) => `${name} ${window.class === null ? "–" : percent(window.probabilities[name])}`).join(", ");
      const title = draw("title", {}, `${seconds(window.start)} to ${seconds(window.end)}: ${all}`);
      const target = draw("rect", { ...span(i, 0.5), y: 0, height: bottom, class: "target" }, title);
      target.onclick = () => choose(i);
      svg.append(target);
    });
    const ticks = Math.max(2, Math.min(8, Math.floor((right - left) / 70)));
    for (let i = 0; i <= ticks; i++) {
      const time = windows[0].start + (i / ticks) * (stop - windows[0].start);
      svg.append(draw("text", { x: x(time), y: bottom + 18, "text-anchor": i === ticks ? "end" : i ? "middle" : "start" }, seconds(time)));
    }
    return bottom + 26;
  });
  const go = (window, i) => make("button", { type: "button", className: "go", onclick: () => choose(i) }, `${window.start.toFixed(2)}–${window.end.toFixed(2)}`);
  const row = (window, i) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, go(window, i)),
      make("td", {}, window.class === null ? "no face" : window.class || "none"),
      ...names.map((name) => make("td", {}, window.class === null ? "" : percent(window.probabilities[name]))),
      make("td", {}, window.class === null ? "" : window.motion.toFixed(4)),
    );
  const head = ["seconds", "class", ...names, "motion"].map((name) => make("th", { scope: "col" }, name));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...windows.map(row)));
  const box = make("div", { className: "box", role: "region", tabIndex: 0, "aria-label": "All windows" }, table);
  return [
    make("p", {}, "Every window gets a class, whether or not anything happened in it. The outlined window, the one with the most motion, is shown below."),
    make(
      "figure",
      {},
      make("h3", {}, "Probabilities and motion over time"),
      svg,
      make("figcaption", {}, "The stronger the colour, the higher the probability. Empty: no face on the first frame of the window."),
      about,
    ),
    make("details", {}, make("summary", {}, "All windows as a table"), box),
    make("h3", {}, `The window from ${seconds(strongest.start)} to ${seconds(strongest.end)}: ${prediction.strongest.class || "no action unit"}`),
  ];
}
