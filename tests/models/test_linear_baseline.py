"""The linear baselines, compared with scikit-learn's pipeline and on clips with known classes."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from fdp_lightning.models.linear_baseline import BASELINE_IMAGES, COMPONENTS, C, linear_probabilities
from fdp_lightning.models.recognizer import Clips
from tests.models.padding import double_sum

T, SIDE = 8, 16


def moved_blobs(n: int, seed: int) -> Clips:
    """Return clips of different faces, on which a blob brightens at the apex; its position is the class (of three)."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.arange(n) % 3
    faces = torch.rand(n, 1, 1, SIDE, SIDE, generator=generator)
    frames = faces + 0.02 * torch.randn(n, T, 1, SIDE, SIDE, generator=generator)
    course = torch.sin(torch.linspace(0, torch.pi, T))
    for clip, place in enumerate(target.tolist()):
        frames[clip, :, 0, 4 * place : 4 * place + 4, 6:10] += 0.2 * course[:, None, None]
    numbers = torch.arange(T).float().expand(n, T)
    return Clips(frames, target, numbers, torch.full((n,), 4.2))


def predicted(name: str, train: Clips, others: Clips) -> np.ndarray:
    image = BASELINE_IMAGES[name]
    return linear_probabilities(image(train).numpy(), train.target.numpy(), image(others).numpy(), 3)


def test_images_are_the_approximate_rank_pooling_and_the_apex_minus_the_onset() -> None:
    clips = moved_blobs(4, seed=0)
    by_hand = sum(float(weight) * clips.frames[:, t] for t, weight in enumerate(double_sum(T)))
    torch.testing.assert_close(BASELINE_IMAGES["linear_arp"](clips), by_hand, atol=1e-4, rtol=0)
    assert torch.equal(BASELINE_IMAGES["linear_apex"](clips), clips.frames[:, 4] - clips.frames[:, 0])


@pytest.mark.parametrize("n", [40, 150])
def test_probabilities_are_those_of_scikit_learn(n: int) -> None:
    rng = np.random.default_rng(n)
    images, others = rng.normal(size=(n, 1, SIDE, SIDE)).astype(np.float32), rng.normal(size=(9, 1, SIDE, SIDE))
    targets = rng.integers(0, 4, n)
    pca = PCA(min(COMPONENTS, n - 1), svd_solver="full")
    plain = make_pipeline(pca, StandardScaler(), LogisticRegression(C=C, max_iter=1000))
    plain.fit(images.reshape(n, -1).astype(np.float64), targets)
    found = linear_probabilities(images, targets, others, 4)
    np.testing.assert_allclose(found, plain.predict_proba(others.reshape(9, -1)), atol=1e-3)


@pytest.mark.parametrize("name", BASELINE_IMAGES)
def test_the_fit_depends_neither_on_other_clips_nor_on_threads(name: str) -> None:
    train, others = moved_blobs(60, seed=1), moved_blobs(6, seed=2)
    changed = Clips(others.frames.clone(), others.target.flip(0), others.frame_number, others.apex)
    changed.frames[1:] *= 100
    first, again = predicted(name, train, others), predicted(name, train, changed)
    np.testing.assert_allclose(first[0], again[0], rtol=1e-12)
    for threads in (1, 2):
        with threadpool_limits(threads):
            assert np.array_equal(first, predicted(name, train, others))
    assert np.abs(first[1:] - again[1:]).max() > 0.01


def test_classes_without_training_clips_have_no_probability() -> None:
    rng = np.random.default_rng(0)
    images, others = rng.normal(size=(8, 1, 5, 5)), rng.normal(size=(3, 1, 5, 5))
    two = linear_probabilities(images, np.array([0, 2] * 4), others, 4)
    assert (two[:, [1, 3]] == 0).all() and (two[:, [0, 2]] > 0).all()
    assert linear_probabilities(images, np.full(8, 1), others, 3).tolist() == [[0, 1, 0]] * 3
