"""Arrays in memory that the hub lends: inputs found there by themselves, outputs written there."""
import numpy as np
import pytest

from support import document


@pytest.fixture(scope="module")
def same(shared_hub, identity_onnx):
    assert shared_hub.publish(document("same"), identity_onnx)["status"] == "succeeded"
    return "admin/same"


def sent_bytes(sdk, monkeypatch):
    """Lengths of the bodies that are sent from now on."""
    lengths, call = [], sdk._transport.call
    monkeypatch.setattr(sdk._transport, "call", lambda *a, data=None, **k: (lengths.append(len(data or b"")), call(*a, data=data, **k))[1])
    return lengths


def test_arrays_in_it_are_not_sent(sdk, same, monkeypatch):
    with sdk.shared_memory(16 << 20) as memory:
        given, taken = memory.array(1_000_000), memory.array((1_000_000,), "float32")
        given[:] = np.arange(given.size)
        lengths = sent_bytes(sdk, monkeypatch)
        answer = sdk.run(same, given, out=taken)
        assert answer is taken and lengths[-1] < 1000
        np.testing.assert_array_equal(taken, given)
        np.testing.assert_array_equal(sdk.run(same, given[1000:2000]), given[1000:2000])
        assert lengths[-1] < 1000
        # What does not lie there as it has to is sent as ever.
        np.testing.assert_array_equal(sdk.run(same, given[::2]), given[::2])
        assert lengths[-1] > 1_000_000
        np.testing.assert_array_equal(sdk.run(same, np.ones(5)), np.ones(5))
        # An output that is smaller than its array.
        few = sdk.run(same, np.float32([1, 2, 3]), out=taken)
        assert few.tolist() == [1, 2, 3] and few.base is not None and np.shares_memory(few, taken)
    np.testing.assert_array_equal(sdk.run(same, given[:3]), [0, 1, 2])  # the hub knows it no more; this process does


def test_what_is_refused(sdk, anonymous, same):
    import dlhub
    with sdk.shared_memory(4096) as memory:
        with pytest.raises(dlhub.ResourceExhausted, match="do not fit"):
            memory.array(1025)
        small = memory.array(2)
        with pytest.raises(dlhub.OutOfRange, match="has 12 bytes"):
            sdk.run(same, np.float32([1, 2, 3]), out=small)
        for out in (np.zeros(3, np.float32), memory.array(3, "float64"), [small, small]):
            with pytest.raises(dlhub.InvalidArgument, match="out:"):
                sdk.run(same, np.float32([1, 2, 3]), out=out)
        with pytest.raises(dlhub.InvalidArgument, match="debug"):
            sdk.run(same, np.float32([1]), out=small, debug=True)
    with pytest.raises(dlhub.ResourceExhausted, match="limits.local_client_bytes"):
        sdk.shared_memory(1 << 40)
    with pytest.raises(dlhub.Unavailable, match="signed in"):
        anonymous.shared_memory(4096)
    with pytest.raises(dlhub.Unavailable, match="No such file"):
        sdk.shared_memory(4096, path="/nowhere/local.sock")
