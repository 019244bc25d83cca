"""Fixtures of the tests of whole programs: one folder a test, real hubs on ephemeral ports. Helpers are in support.py."""
import pytest

from support import BIN, BUILD, ROOT, HubProcess, document, wait_for  # noqa: F401


@pytest.fixture
def hub(tmp_path):
    process = HubProcess(tmp_path / "hub")
    yield process
    assert process.stop() == 0, process.log_text()


@pytest.fixture(scope="module")
def shared_hub(tmp_path_factory):
    """One hub for the tests of a module that do not get in each other's way."""
    process = HubProcess(tmp_path_factory.mktemp("shared") / "hub")
    yield process
    assert process.stop() == 0, process.log_text()


@pytest.fixture(scope="session")
def identity_onnx():
    """An ONNX graph that gives back its FP32 input of shape [n]."""
    import onnx
    from onnx import TensorProto, helper
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", [value("x")], [value("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


@pytest.fixture
def hub_with(tmp_path):
    """Makes a hub with these flags, for a `with`."""
    import contextlib

    @contextlib.contextmanager
    def start(*flags):
        process = HubProcess(tmp_path / "other", *flags)
        try:
            yield process
        finally:
            assert process.stop() == 0, process.log_text()
    return start
