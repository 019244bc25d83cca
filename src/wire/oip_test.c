#include "wire/run_rows_test.h"

#define X1 TENSOR("x", "FP32", "[null]")
#define FREE "{\"name\":\"x\",\"type\":\"ndarray\",\"shape\":[null]}"
#define IN(rest) "{'inputs':[{'name':'x','shape':[1],'datatype':'FP32'," rest "}]}"
#define DATA(dtype, shape, data) "{'inputs':[{'name':'x','shape':" shape ",'datatype':'" dtype "','data':" data "}]}"

static void test_accepted(void **state)
{
	static const struct row rows[] = {
		{ X1, IN("'data':[1.0]"), "x FP32 [1] [1.0]" },
		{ X1, IN("'data':[1]"), "x FP32 [1] [1.0]" },
		{ X1,
		  " { 'inputs' : [ { 'data' : [ 1.0 ] , 'datatype' : 'FP32' , 'shape' : [ 1 ] , 'name' : 'x' } ] } ",
		  "x FP32 [1] [1.0]" },
		{ X1,
		  "{'inputs':[{'name':'x','data':[0.1,2],'shape':[2],'datatype':'FP32'}],'id':'a\\u00e9\\ud83d\\ude00b'"
		  "}",
		  "x FP32 [2] [0.1,2.0]; id=a\xc3\xa9\xf0\x9f\x98\x80"
		  "b" },
		{ X1, "{'\\u0069nputs':[{'n\\u0061me':'\\u0078','shape':[1],'datatype':'FP32','data':[1]}]}",
		  "x FP32 [1] [1.0]" },
		{ TUPLE(X1 "," TENSOR("y", "INT64", "[2]")),
		  "{'inputs':[{'data':[1,2],'datatype':'INT64','name':'y','shape':[2]},"
		  "{'data':[[1e0]],'datatype':'FP32','name':'x','shape':[1]}]}",
		  "INVALID_ARGUMENT: shape [1] does not agree with the data, which is nested as [1,1]" },
		{ TUPLE(X1 "," TENSOR("y", "INT64", "[2]")),
		  "{'inputs':[{'data':[1,2],'datatype':'INT64','name':'y','shape':[2]},"
		  "{'data': [ 1e0 , 2 ] ,'datatype':'FP32','name':'x','shape':[2]}]}",
		  "x FP32 [2] [1.0,2.0]; y INT64 [2] [1,2]" },
		{ FREE, "{'inputs':[{'data':[1,2],'datatype':'UINT16','name':'x','shape':[2]}]}",
		  "x UINT16 [2] [1,2]" },
		{ X1, DATA("FP32", "[0]", "[]"), "x FP32 [0] []" },
		{ TENSOR("x", "FP32", "[null,2]"), DATA("FP32", "[2,2]", "[1,2,3,4]"),
		  "x FP32 [2,2] [1.0,2.0,3.0,4.0]" },
		{ TENSOR("x", "FP32", "[null,2]"), DATA("FP32", "[2,2]", "[[1,2],[3,4]]"),
		  "x FP32 [2,2] [1.0,2.0,3.0,4.0]" },
		{ TENSOR("x", "INT8", "[null,null]"), DATA("INT8", "[2,0]", "[[],[]]"), "x INT8 [2,0] []" },
		{ TENSOR("x", "INT8", "[]"), DATA("INT8", "[]", "[-128]"), "x INT8 [] [-128]" },
		{ TENSOR("x", "UINT8", "[3]"), DATA("UINT8", "[3]", "[0,255,2.0]"), "x UINT8 [3] [0,255,2]" },
		{ TENSOR("x", "UINT64", "[2]"), DATA("UINT64", "[2]", "[18446744073709551615,1e3]"),
		  "x UINT64 [2] [18446744073709551615,1000]" },
		{ TENSOR("x", "INT64", "[2]"), DATA("INT64", "[2]", "[-9223372036854775808,9223372036854775807]"),
		  "x INT64 [2] [-9223372036854775808,9223372036854775807]" },
		{ TENSOR("x", "BOOL", "[3]"), DATA("BOOL", "[3]", "[true,false,1]"), "x BOOL [3] [true,false,true]" },
		{ TENSOR("x", "BYTES", "[3]"), DATA("BYTES", "[3]", "['a','','\\n\\\\\\/\\u0001\xc3\xa9']"),
		  "x BYTES [3] [\"a\",\"\",\"\\n\\\\/\\u0001\xc3\xa9\"]" },
		{ TENSOR("x", "FP64", "[3]"), DATA("FP64", "[3]", "[0.1234567890123456789,-0.0,5e-324]"),
		  "x FP64 [3] [0.12345678901234568,-0.0,5e-324]" },
		{ TUPLE(TENSOR("a", "FP32", "[1]") "," TENSOR("b", "INT32", "[1]")),
		  "{'inputs':[{'name':'b','shape':[1],'datatype':'INT32','data':[2]},"
		  "{'name':'a','shape':[1],'datatype':'FP32','data':[1]}]}",
		  "a FP32 [1] [1.0]; b INT32 [1] [2]" },
		{ X1,
		  "{'parameters':{'timeout':250,'priority':1,'sequence_id':7,'triton_x':{'a':[1]},'headers':{},'k':[1,{"
		  "'q':"
		  "null}],'\\u0065':'\\u0031','binary_data_output':true},'model_name':'a/b',"
		  "'outputs':[{'name':'z','parameters':{'binary_data':false,'other':[1]}},{'name':'y'}],"
		  "'inputs':[{'name':'x','parameters':{'a':{'b':[1]}},'shape':[1],'datatype':'FP32','data':[1]}]}",
		  "x FP32 [1] [1.0]; parameters={\"k\":[1,{\"q\":null}],\"e\":\"\\u0031\"}; output=z:0; output=y:-1; "
		  "timeout=250; priority=1; "
		  "binary" },
		{ X1, "{'parameters':{},'outputs':[],'inputs':[{'name':'x','shape':[1],'datatype':'FP32','data':[1]}]}",
		  "x FP32 [1] [1.0]" },
		{ "{\"type\":\"number\"}", "{'inputs':[{'name':'input','shape':[1],'datatype':'FP64','data':[2.5]}]}",
		  "input JSON [] 2.5" },
		{ "{\"type\":\"integer\"}", "{'inputs':[{'name':'input','shape':[1],'datatype':'INT64','data':[-3]}]}",
		  "input JSON [] -3" },
		{ "{\"type\":\"boolean\"}", "{'inputs':[{'name':'input','shape':[1],'datatype':'BOOL','data':[true]}]}",
		  "input JSON [] true" },
		{ "{\"type\":\"string\"}",
		  "{'inputs':[{'name':'input','shape':[1],'datatype':'BYTES','data':['a\\'\\n']}]}",
		  "input JSON [] \"a\\\"\\u000a\"" },
		{ "{\"type\":\"list\",\"item_type\":\"integer\"}",
		  "{'inputs':[{'name':'input','shape':[1],'datatype':'BYTES','data':['[1, 2]']}]}",
		  "input JSON [] [1, 2]" },
		{ "{\"type\":\"file\"}", "{'inputs':[{'name':'input','shape':[1],'datatype':'BYTES','data':['a,b']}]}",
		  "input FILE [] a,b" },
		{ TENSOR("x", "UINT8", "[null]"),
		  "{'inputs':[{'name':'x','shape':[3],'datatype':'UINT8','parameters':{'shared_memory_region':'r',"
		  "'shared_memory_offset':61,'shared_memory_byte_size':3}}],'outputs':[{'name':'y','parameters':"
		  "{'shared_memory_byte_size':16,'shared_memory_region':'q'}},{'name':'z'}]}",
		  "x UINT8 [3] [61,62,63]; output=y:-1 in q+0,16; output=z:-1" },
	};
	check_rows(false, rows, ARRAY_SIZE(rows));
}

#define BAD "INVALID_ARGUMENT: "
#define SHARED(members) IN("'parameters':{" members "}")

static void test_refused(void **state)
{
	static const struct row rows[] = {
		{ X1, "", BAD "byte 0: the text ends too early" },
		{ X1, "[]", BAD "byte 0: a request, an object, is expected, but a list came" },
		{ X1, "{}", BAD "'inputs' is missing" },
		{ X1, "{'inputs':[]}", BAD "input 'x' is missing" },
		{ X1, "{'inputs':[{'name':'x','shape':[1],'datatype':'FP32','data':[1.0]}]",
		  BAD "byte 67: the text ends" },
		{ X1, IN("'data':[1.0]") " x", BAD "byte 69: the end of the text is expected, but 'x' came" },
		{ X1, IN("'data':[NaN]"),
		  BAD "input 'x', element 0, byte 61: a value is expected; NaN and Infinity are not JSON" },
		{ X1, IN("'data':[-Infinity]"), BAD "input 'x', element 0, byte 61: NaN and Infinity" },
		{ X1, IN("'data':[1e999]"), BAD "input 'x', element 0: 1e999 does not fit FP32" },
		{ X1, IN("'data':[1e39]"), BAD "input 'x', element 0: 1e39 does not fit FP32" },
		{ X1, DATA("FP32", "[2]", "[1,-1e999]"), BAD "input 'x', element 1: -1e999 does not fit FP32" },
		{ X1, IN("'data':[1,2]"), BAD "input 'x', element 1: the shape has only 1 elements" },
		{ X1, "{'inputs':[{'name':'x','data':[1,2],'shape':[3],'datatype':'FP32'}]}",
		  BAD "input 'x', byte 65: shape [3] has 3 elements, but 2 came" },
		{ X1, IN("'data':[]"), BAD "shape [1] has 1 elements, but 0 came" },
		{ X1, DATA("FP32", "[-1]", "[1]"), BAD "input 'x', byte 32: shape: -1 is no length of an axis" },
		{ X1, DATA("FP32", "[1.5]", "[1]"), BAD "shape: 1.5 is no length" },
		{ X1, DATA("FP32", "[4294967296,4294967296]", "[1]"),
		  BAD "input 'x', byte 53: shape [4294967296,4294967296] multiplies past 2^63" },
		{ X1, DATA("FP32", "[9223372036854775808]", "[1]"), BAD "is no length of an axis" },
		{ X1, DATA("FP64", "[1]", "[1]"), BAD "input 'x': FP64 came, but FP32 is expected" },
		{ X1, DATA("FP31", "[1]", "[1]"), BAD "input 'x', byte 46: unknown datatype 'FP31'" },
		{ X1, DATA("JSON", "[1]", "[1]"), BAD "unknown datatype 'JSON'" },
		{ X1, DATA("FP16", "[1]", "[1]"), BAD "FP16 travels as binary only" },
		{ X1, DATA("FP32", "[1,1]", "[1]"), BAD "input 'x': shape [1,1] came, but [-1] is expected" },
		{ X1, DATA("FP32", "[2,2]", "[[1,2],[3]]"),
		  BAD "input 'x', element [1]: the nesting is uneven: a list of 1 came after one of 2" },
		{ X1, DATA("FP32", "[2,2]", "[[1,2],3]"), BAD "input 'x', element [1]: the nesting is uneven" },
		{ X1, DATA("FP32", "[2,2]", "[[1,2],[3,[4]]]"), BAD "input 'x', element [1,1]: the nesting is uneven" },
		{ X1, DATA("FP32", "[4]", "[[1,2],[3,4]]"),
		  BAD "shape [4] does not agree with the data, which is nested as [2,2]" },
		{ X1, DATA("FP32", "[1]", "[true]"), BAD "input 'x', element 0: a number is expected, but true came" },
		{ X1, DATA("FP32", "[1]", "['1']"),
		  BAD "input 'x', element 0: a number is expected, but a string came" },
		{ X1, DATA("FP32", "[1]", "[null]"), BAD "input 'x', element 0: null came" },
		{ X1, DATA("FP32", "[1]", "[{}]"), BAD "input 'x', element 0: an object came" },
		{ X1, DATA("FP32", "[1]", "1"), BAD "the data, a list, is expected, but a number came" },
		{ X1, DATA("FP32", "[1]", "'abcdefghi\\n'"), BAD "the data, a list, is expected, but a string came" },
		{ X1, "{'inputs':[{'data':[1],'datatype':'FP64','name':'x','shape':[1]}]}",
		  BAD "input 1, byte 34: FP64 came, but FP32 is expected" },
		{ FREE, "{'inputs':[{'data':[1,300],'datatype':'UINT8','name':'x','shape':[2]}]}",
		  BAD "input 'x', element 1: 300 does not fit UINT8" },
		{ FREE, "{'inputs':[{'data':7,'datatype':'UINT8','name':'x','shape':[2]}]}",
		  BAD "input 'x', element 0, byte 19: the data, a list," },
		{ TENSOR("x", "BF16", "[1]"), "{'inputs':[{'data':[7],'datatype':'BF16','name':'x','shape':[1]}]}",
		  BAD "BF16 travels as binary only" },
		{ X1, "{'inputs':[{'data':'a\\n','name':'x','shape':[1],'datatype':'FP32'}]}",
		  BAD "byte 19: the data, a list," },
		{ X1, "{'inputs':[{'data':5,'name':'x','shape':[1],'datatype':'FP32'}]}",
		  BAD "byte 19: the data, a list," },
		{ X1, DATA("INT8", "[2]", "[127,128]"), BAD "input 'x', element 1: 128 does not fit INT8" },
		{ X1, DATA("UINT8", "[1]", "[-1]"), BAD "-1 does not fit UINT8" },
		{ X1, DATA("INT64", "[1]", "[9223372036854775808]"), BAD "9223372036854775808 does not fit INT64" },
		{ X1, DATA("INT64", "[1]", "[99999999999999999999999]"), BAD "does not fit INT64" },
		{ X1, DATA("INT64", "[1]", "[1.5]"), BAD "1.5 is not a whole number, which INT64 needs" },
		{ X1, DATA("BOOL", "[1]", "[2]"), BAD "2 does not fit BOOL" },
		{ X1, DATA("BYTES", "[1]", "[2]"), BAD "a string is expected, but 2 came" },
		{ X1, IN("'data':[01]"), BAD "byte 61: '01' is not a JSON number" },
		{ X1, IN("'data':[1.]"), BAD "'1.' is not a JSON number" },
		{ X1, IN("'data':[.5]"), BAD "a value is expected, but '.' came" },
		{ X1, IN("'data':[+1]"), BAD "a value is expected, but '+' came" },
		{ X1, IN("'data':[1e]"), BAD "'1e' is not a JSON number" },
		{ X1, IN("'data':[1,]"), BAD "input 'x', element 1, byte 63: a value is expected, but ']' came" },
		{ X1, IN("'data':[1 2]"), BAD "',' or ']' is expected, but '2' came" },
		{ X1, IN("'data':[tru]"), BAD "'true' is expected" },
		{ X1, IN("'data':[1],'data':[1]"), BAD "input 'x', byte 64: 'data' comes twice" },
		{ X1, IN("'dta':[1]"), BAD "input 'x', byte 53: unknown member 'dta'; an input has: name, shape" },
		{ X1, IN("'name':'x'"), BAD "'name' comes twice" },
		{ X1, IN("'parameters':{}"), BAD "input 'x', byte 68: 'data' is missing" },
		{ X1, "{'inputs':[{'shape':[1],'datatype':'FP32','data':[1]}]}",
		  BAD "input 1, byte 52: 'name' is missing" },
		{ X1, "{'inputs':[{'name':'x','datatype':'FP32','data':[1]}]}", BAD "'shape' is missing" },
		{ X1, "{'inputs':[{'name':'x','shape':[1],'data':[1]}]}", BAD "'datatype' is missing" },
		{ X1, "{'inputs':[{'name':'q','shape':[1],'data':[1]}]}",
		  BAD "input 1, byte 19: method 'run' has no input 'q'; it has: 'x'" },
		{ X1, "{'inputs':[{'name':'x','shape':[1],'datatype':'FP32','data':[1]},{'name':'x'}]}",
		  BAD "input 2, byte 73: input 'x' comes twice" },
		{ X1, "{'inputs':[],'inputs':[]}", BAD "'inputs' comes twice" },
		{ X1, "{'input':[]}", BAD "byte 1: unknown member 'input'; a request has: id, parameters, inputs" },
		{ X1, "{'inputs':[],'outputs':[{'name':'w'}]}",
		  BAD "method 'run' has no output 'w'; it has: 'y', 'z'" },
		{ X1, "{'inputs':[],'outputs':[{'name':'y'},{'name':'y'}]}", BAD "output 'y' comes twice" },
		{ X1, "{'inputs':[],'outputs':[{}]}", BAD "output 1: 'name' is missing" },
		{ X1, "{'id':7}", BAD "the id, a string, is expected, but a number came" },
		{ X1, "{'parameters':{'timeout':-1}}", BAD "timeout: -1 is no number of microseconds" },
		{ X1, "{'parameters':{'priority':1.5}}", BAD "priority: 1.5 is no whole number of at least 0" },
		{ X1, "{'parameters':{'priority':'high'}}", BAD "priority: a whole number of at least 0 is expected, but a string" },
		{ X1, "{'parameters':{'priority':1,'priority':1}}", BAD "'priority' comes twice" },
		{ X1, "{'parameters':{'binary_data_output':1}}", BAD "binary_data_output: true or false is expected" },
		{ X1, "{'parameters':{'k':1,'k':2},'inputs':[{'name':'x','shape':[1],'datatype':'FP32','data':[1]}]}",
		  BAD "parameters: " },
		{ X1, "{'parameters':[]}", BAD "the parameters, an object, is expected, but a list came" },
		{ X1, "{'id':'\xff'}", BAD "byte 7: the text is not UTF-8" },
		{ X1, "{'id':'a\xc3('}", BAD "byte 8: the text is not UTF-8" },
		{ X1, "{'id':'\xed\xa0\x80'}", BAD "byte 7: the text is not UTF-8" },
		{ X1, "{'id':'\\ud800x'}", BAD "byte 7: " },
		{ X1, "{'id':'\\udc00'}", BAD "byte 7: a surrogate" },
		{ X1, "{'id':'\\q'}", BAD "byte 7: an escape that JSON does not have" },
		{ X1, "{'id':'\t'}", BAD "byte 7: control character 0x09" },
		{ X1, "{'id':'abc", BAD "byte 10: the text ends too early" },
		{ X1, "{'model_name':[[[[[[[[[[[[[[[[[[[[]]]]]", BAD "nested deeper than 16 (limits.json_depth)" },
		{ X1, IN("'parameters':{'binary_data_size':4}"),
		  BAD "binary_data_size needs the header Inference-Header-Content-Length" },
		{ X1, SHARED("'shared_memory_region':'q','shared_memory_byte_size':4"),
		  "UNIMPLEMENTED: input 'x': shared memory is not offered here" },
		{ X1, SHARED("'shared_memory_region':'r','shared_memory_byte_size':8"),
		  BAD "input 'x': shared_memory_byte_size is 8, but FP32 [1] has 4 bytes" },
		{ X1, SHARED("'shared_memory_region':'r'"), BAD "input 'x', byte 93: shared memory needs both" },
		{ X1, SHARED("'shared_memory_byte_size':4"), BAD "shared memory needs both" },
		{ X1, SHARED("'shared_memory_region':'','shared_memory_byte_size':4"), BAD "shared memory needs both" },
		{ X1, SHARED("'shared_memory_region':'r','shared_memory_byte_size':-4"),
		  BAD "shared_memory_byte_size must be a number of bytes" },
		{ X1, SHARED("'shared_memory_region':'r','shared_memory_offset':1.5"),
		  BAD "shared_memory_offset must be a number of bytes" },
		{ X1, SHARED("'shared_memory_region':7"), BAD "shared_memory_region, a string, is expected, but a number came" },
		{ X1, SHARED("'shared_memory_region':'r','shared_memory_region':'r'"), BAD "comes twice" },
		{ X1, IN("'data':[1],'parameters':{'shared_memory_region':'r','shared_memory_byte_size':4}"),
		  BAD "input 'x', byte 133: is in shared memory and in the body" },
		{ TENSOR("x", "BYTES", "[1]"),
		  "{'inputs':[{'name':'x','shape':[1],'datatype':'BYTES',"
		  "'parameters':{'shared_memory_region':'r','shared_memory_byte_size':9}}]}",
		  BAD "input 'x'" },
		{ X1, "{'outputs':[{'name':'y','parameters':{'classification':3}}]}",
		  "UNIMPLEMENTED: outputs: classification" },
		{ "{\"type\":\"number\"}", "{'inputs':[{'name':'input','shape':[2],'datatype':'FP64','data':[2.5,1]}]}",
		  BAD "input 'input': shape [2] came, but one element, [1], is expected" },
		{ "{\"type\":\"dict\",\"properties\":{}}",
		  "{'inputs':[{'name':'input','shape':[1],'datatype':'BYTES','data':['{q']}]}",
		  BAD "input 'input': not a JSON document ('dict' is expected): byte 1" },
	};
	check_rows(false, rows, ARRAY_SIZE(rows));
}

#define BIN(name, dtype, shape, size) \
	"{'name':'" name "','shape':" shape ",'datatype':'" dtype "','parameters':{'binary_data_size':" size "}}"

static void test_binary(void **state)
{
	static const struct row rows[] = {
		{ X1,
		  "{'inputs':[" BIN("x", "FP32", "[1]", "4") "]}\x01"
							     "AAAA",
		  "x FP32 [1] [12.078431]" },
		{ TUPLE(TENSOR("a", "UINT8", "[2]") "," TENSOR("b", "INT8", "[1]")),
		  "{'inputs':[" BIN("b", "INT8", "[1]",
				    "1") ",{'name':'a','data':[1,2],'shape':[2],'datatype':'UINT8'}]}\x01"
					 "A",
		  "a UINT8 [2] [1,2]; b INT8 [1] [65]" },
		{ TENSOR("x", "FP16", "[1]"),
		  "{'inputs':[" BIN("x", "FP16", "[1]", "2") "]}\x01"
							     "A<",
		  "x FP16 [1] [1.0634766]" },
		{ X1, IN("'data':[1.0]") "\x01", "x FP32 [1] [1.0]" },
		{ X1,
		  IN("'data':[1.0]") "\x01"
				     "junk",
		  BAD "bytes are left over behind the JSON part" },
		{ X1,
		  "{'inputs':[" BIN("x", "FP32", "[1]", "4") "]}\x01"
							     "AAA",
		  BAD "input 'x': the body ended after 3 of its 4" },
		{ X1,
		  "{'inputs':[" BIN("x", "FP32", "[1]", "4") "]}\x01"
							     "AAAAB",
		  BAD "bytes are left over behind the binary" },
		{ X1,
		  "{'inputs':[" BIN("x", "FP32", "[1]", "3") "]}\x01"
							     "AAA",
		  BAD "input 'x': binary_data_size is 3, but FP32 [1] has 4 bytes" },
		{ X1,
		  "{'inputs':[" BIN("x", "FP32", "[1]", "-4") "]}\x01"
							      "AAAA",
		  BAD "binary_data_size: -4 is no number" },
		{ X1,
		  "{'inputs':[{'name':'x','shape':[1],'datatype':'FP32','data':[1],'parameters':{'binary_data_size':4}}"
		  "]}\x01"
		  "AAAA",
		  BAD "has both 'data' and 'binary_data_size'" },
		{ X1, "{'inputs':[\x01]}", BAD "the JSON part is not complete in the 11 bytes" },
		{ TENSOR("x", "BYTES", "[1]"),
		  "{'inputs':[" BIN("x", "BYTES", "[1]", "4") "]}\x01"
							      "AAAA",
		  BAD "input 'x'" },
		/* raw binary requests */
		{ X1,
		  "\x01"
		  "AAAAAAAA",
		  "x FP32 [2] [12.078431,12.078431]; binary" },
		{ TENSOR("x", "FP32", "[null,null,1]"),
		  "\x01"
		  "AAAAAAAA",
		  "x FP32 [1,2,1] [12.078431,12.078431]; binary" },
		{ TENSOR("x", "FP32", "[null,2]"),
		  "\x01"
		  "AAAA",
		  BAD "input 'x': 4 bytes do not make up FP32 of shape [-1,2]" },
		{ TENSOR("x", "BYTES", "[null]"),
		  "\x01"
		  "abc",
		  "x BYTES [1] [\"abc\"]; binary" },
		{ "{\"type\":\"file\"}",
		  "\x01"
		  "abc",
		  "input FILE [] abc; binary" },
		{ "{\"type\":\"string\"}",
		  "\x01"
		  "abc",
		  "input JSON [] \"abc\"; binary" },
		{ "{\"type\":\"file\"}", "\x01", "input FILE [] ; binary" },
		{ TUPLE(X1 "," TENSOR("y", "FP32", "[1]")),
		  "\x01"
		  "abc",
		  BAD "a raw binary request" },
	};
	check_rows(false, rows, ARRAY_SIZE(rows));
}

static void test_ceiling(void **state)
{
	_cleanup_(signature_destroyp) struct signature *signature = method_of(X1);
	size_t len = DUMP_CEILING;
	_cleanup_free_ char *text = malloc(len);
	int at =
		snprintf(text, len, "{\"inputs\":[{\"name\":\"x\",\"shape\":[400000],\"datatype\":\"FP32\",\"data\":[");
	for (size_t i = (size_t)at; i < len; i++)
		text[i] = (i - (size_t)at) & 1 ? ',' : '1';
	struct body body = { .signature = signature, .json_bytes = -1, .data = (uint8_t *)text, .len = len };
	_cleanup_free_ char *whole = body_dump(&body, len, len, 0);
	assert_non_null(strstr(whole, "OUT_OF_RANGE: "));
	assert_non_null(strstr(whole, "limits.body_bytes"));
}

TEST_MAIN(cmocka_unit_test(test_accepted), cmocka_unit_test(test_refused), cmocka_unit_test(test_binary),
	  cmocka_unit_test(test_ceiling))
