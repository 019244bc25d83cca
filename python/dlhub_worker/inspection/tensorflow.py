"""SavedModels in TensorFlow: every signature is a method, `serving_default` is `run`."""

from .. import schema as types
from ..errors import BadServable
from ..shims.tensorflow import TensorFlowServable
from . import Inspected


def _argument(name, spec):
    datatype = types.DATATYPE_OF.get(spec.dtype.name, "BYTES" if spec.dtype.name == "string" else None)
    shape = "Any" if spec.shape.rank is None else [axis for axis in spec.shape.as_list()]
    item = {"BYTES": "string", "BOOL": "boolean"}.get(
        datatype, "integer" if datatype and "INT" in datatype else "float"
    )
    return {
        "type": "ndarray",
        "name": name,
        "shape": shape,
        "item_type": {"type": item, **({"dtype": datatype} if datatype else {})},
    }


def _side(specs):
    arguments = [_argument(name, specs[name]) for name in sorted(specs)]
    return arguments[0] if len(arguments) == 1 else {"type": "tuple", "element_types": arguments}


def inspect(document, directory):
    servable = TensorFlowServable(document, directory)
    methods = {}
    for name, signature in servable.signatures.items():
        methods["run" if name == "serving_default" else name] = {
            "input": _side(signature.structured_input_signature[1]),
            "output": _side(signature.structured_outputs),
            "parameters": {},
            "method_details": {"method_name": name},
        }
    methods = {name: method for name, method in methods.items() if name.isidentifier() and not name.startswith("__")}
    if methods and "run" not in methods:
        methods["run"] = next(iter(methods.values()))
    if not methods:
        raise BadServable("the SavedModel has no signature", hint="save it with signatures=, or with model.export()")
    inspected = Inspected(methods, "Deep NN")
    inspected.framework = servable.framework
    return inspected
