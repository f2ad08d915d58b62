"""The table of the tuned lens against numbers worked out from its files, and through every family that is special."""

import h5py
import numpy as np
import pytest
from tuned_files import made

from classlens.csvfile import read_table
from classlens.measures.tuned_lens import compare_lenses
from classlens.passes.extraction import Extraction
from classlens.passes.gather import gather
from classlens.passes.run import run_pass
from classlens.statistics.resampling import Resampling, bootstrap_interval, sign_flip_test

RESAMPLING = Resampling(199, 0.9, 2)


def table_of(study, folder, maps):
    shard, layers, output = (
        folder / "shard.h5",
        [folder / f"layer_{block}.h5" for block in range(2)],
        folder / "output.h5",
    )
    run_pass(str(study.evaluation), str(study.weights), str(shard), of=Extraction, **study.network)
    gather([str(shard)], list(map(str, layers)), str(output), threads=1)
    compare_lenses(maps, list(map(str, layers)), str(folder / "table.csv"), RESAMPLING)
    return read_table(str(folder / "table.csv")), layers


@pytest.mark.parametrize(
    ("family", "groups", "prefix"),
    [("averages", ["image"], 0), ("registers", ["cls", "image"], 4)],
)
def test_numbers_are_means_over_images(tmp_path, family, groups, prefix):
    study = made(tmp_path, family)
    maps = study.fit()
    table, layers = table_of(study, tmp_path, maps)
    assert list(zip(table["quantity"], table["group"], table["block"], strict=True)) == [
        (quantity, group, block) for quantity in ("kl", "identifiability") for group in groups for block in (0, 1)
    ]
    assert (table["images"] == 5).all()
    tokens = {"cls": slice(0, 1), "image": slice(prefix, None)}
    values = []
    for row in table.itertuples():
        with h5py.File(maps[row.block]) as own, h5py.File(layers[row.block]) as layer:
            pair = {
                "kl": (own["kl_logit_lens"][:], own["kl"][:]),
                "identifiability": (1 - layer["residual/rank"][:] / 7, 1 - own["rank"][:] / 7),
            }[row.quantity]
            assert row.map == own.attrs["chosen"]
        values.append([one[:, tokens[row.group]].astype(float).mean(1) for one in pair])
    plain, tuned = np.array(values).swapaxes(0, 1)
    for name, found in (("logit_lens", plain), ("tuned_lens", tuned), ("difference", tuned - plain)):
        assert table[name].to_numpy() == pytest.approx(found.mean(1), rel=1e-4, abs=1e-7)
        low, high = bootstrap_interval(found.T, RESAMPLING)
        assert table[f"{name}_ci_low"].to_numpy() == pytest.approx(low, rel=1e-4, abs=1e-7)
        assert table[f"{name}_ci_high"].to_numpy() == pytest.approx(high, rel=1e-4, abs=1e-7)
    p_values = sign_flip_test((tuned - plain).T, "two-sided", RESAMPLING)
    fitted = (table["block"] == 0).to_numpy()
    assert table["p_value"].to_numpy()[fitted] == pytest.approx(p_values[fitted], rel=1e-3)
    # At the last block there is no map, so there is nothing to test.
    assert table["p_value"][~fitted].isna().all()
    assert (table["difference"][~fitted] == 0).all()
    assert (table["map"][~fitted] == "logit_lens").all()
