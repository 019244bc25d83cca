#include "wire/run_rows_test.h"

#define BAD "INVALID_ARGUMENT: "
#define FREE(shape, item) "{\"name\":\"x\",\"type\":\"ndarray\",\"shape\":" shape item "}"
#define ANY FREE("\"Any\"", "")
#define FIXED TENSOR("x", "FP32", "[null,2]")
#define PAIR_OF_FILES TUPLE("{\"name\":\"f\",\"type\":\"file\"},{\"name\":\"g\",\"type\":\"file\"}")
#define PAIR TUPLE(TENSOR("a", "INT64", "[null]") ",{\"name\":\"b\",\"type\":\"string\"}")

static void test_accepted(void **state)
{
	static const struct row rows[] = {
		{ FIXED, "{'data':[[1,2.5],[3,4]]}", "x FP32 [2,2] [1.0,2.5,3.0,4.0]" },
		{ ANY, "{'data':[1,2,3]}", "x INT64 [3] [1,2,3]" },
		{ ANY, "{'data':[[1,2],[3,4.5]]}", "x FP64 [2,2] [1.0,2.0,3.0,4.5]" },
		{ ANY, "{'data':[1.5,2]}", "x FP64 [2] [1.5,2.0]" },
		{ ANY, "{'data':[[true],[false]]}", "x BOOL [2,1] [true,false]" },
		{ ANY, "{'data':['a','b\\u00fc']}", "x BYTES [2] [\"a\",\"b\xc3\xbc\"]" },
		{ ANY, "{'data':7}", "x INT64 [] [7]" },
		{ ANY, "{'data':'text'}", "x BYTES [] [\"text\"]" },
		{ ANY, "{'data':[]}", "x FP64 [0] []" },
		{ ANY, "{'data':[[],[]]}", "x FP64 [2,0] []" },
		{ ANY, "{'data':[[[1]],[[2]]]}", "x INT64 [2,1,1] [1,2]" },
		{ TENSOR("x", "INT32", "[2]"), "{'data':[2.0,-3e0]}", "x INT32 [2] [2,-3]" },
		{ TENSOR("x", "FP16", "[null]"), "{'data':[1.5,-2049,65519,1e-8,6e-8,1e-5,-0.0]}",
		  "x FP16 [7] [1.5,-2048.0,65504.0,0.0,5.9604645e-08,1.001358e-05,-0.0]" },
		{ TENSOR("x", "BF16", "[null]"), "{'data':[1.5,257,259,3.39e38,1e-40]}",
		  "x BF16 [5] [1.5,256.0,260.0,3.3895314e+38,9.1835e-41]" },
		{ "{\"type\":\"integer\"}", "{'data':3}", "input JSON [] 3" },
		{ "{\"type\":\"integer\"}", "{'data' : 3 }", "input JSON [] 3" },
		{ "{\"type\":\"number\"}", "{'data':-1.5e3,'debug':true}", "input JSON [] -1.5e3; debug; envelope" },
		{ "{\"type\":\"boolean\"}", "{'data':\n\ttrue}", "input JSON [] true" },
		{ "{\"type\":\"string\"}", "{'data':'a\\u00e9\\n'}", "input JSON [] \"a\\u00e9\\n\"" },
		{ "{\"type\":\"dict\",\"properties\":{\"k\":{\"type\":\"integer\"}}}",
		  "{'data': {'k' : 1 } , 'envelope':true}", "input JSON [] {\"k\" : 1 }; envelope" },
		{ "{\"type\":\"list\",\"item_type\":\"string\"}", "{'data':['a','b']}", "input JSON [] [\"a\",\"b\"]" },
		{ "{\"type\":\"python object\",\"python_type\":\"x\"}", "{'data':null}", "input JSON [] null" },
		{ "{\"type\":\"file\"}", "{'data':{'content':'aGVsbG8='}}", "input FILE [] hello" },
		{ "{\"type\":\"file\"}", "{'data':{'name':'a.txt','content':'aGVsbG8'}}", "input FILE [] hello" },
		{ "{\"type\":\"file\"}", "{'data':{'content':'aGVs\\u0062G8h','name':null}}", "input FILE [] hello!" },
		{ "{\"type\":\"file\"}", "{'data':{'content':''}}", "input FILE [] " },
		{ PAIR, "{'data':[[1,2],'s']}", "a INT64 [2] [1,2]; b JSON [] \"s\"" },
		{ PAIR, "{'data' : [ [ 1 , 2 ] , 's' ] }", "a INT64 [2] [1,2]; b JSON [] \"s\"" },
		{ PAIR, "{'data':{'b':'s','a':[1]}}", "a INT64 [1] [1]; b JSON [] \"s\"" },
		{ PAIR, "{'method':'run','data':{'b':'s','a':[1]}}", "a INT64 [1] [1]; b JSON [] \"s\"" },
		{ PAIR, "{'data':{'b':'s','a':[1]},'method':'run'}", "a INT64 [1] [1]; b JSON [] \"s\"" },
		{ PAIR, "{'data':[5],'method':'other'}", "q INT8 [1] [5]; method=other" },
		{ PAIR, "{'method':'other','data':[5]}", "q INT8 [1] [5]; method=other" },
		{ ANY, "{'parameters':{'a':[1,{'b':2}]},'data':1,'asynchronous':true,'timeout_s':1.5}",
		  "x INT64 [] [1]; parameters={\"a\":[1,{\"b\":2}]}; timeout=1500000; asynchronous" },
		{ ANY, "{'parameters':null,'data':1,'debug':false,'timeout_s':null}", "x INT64 [] [1]" },
		{ FIXED, "{'each':[[[1,2]],[[3,4],[5,6]]]}", "each: x FP32 [1,2] [1.0,2.0] | x FP32 [2,2] [3.0,4.0,5.0,6.0]" },
		{ ANY, "{'asynchronous':true,'each' : [ 1 , [ 2 ] , 'a' ] ,'expires_s':2,'start_within_s':0.5}",
		  "each: x INT64 [] [1] | x INT64 [1] [2] | x BYTES [] [\"a\"]; expires=2000000; start within=500000; asynchronous" },
		{ "{\"type\":\"integer\"}", "{'each':[3,4]}", "each: input JSON [] 3 | input JSON [] 4" },
		{ "{\"type\":\"list\",\"item_type\":\"string\"}", "{'each':[['a'],[],['b','c']]}",
		  "each: input JSON [] [\"a\"] | input JSON [] [] | input JSON [] [\"b\",\"c\"]" },
		{ "{\"type\":\"file\"}", "{'each':[{'content':'aGVsbG8='},{'content':''}]}", "each: input FILE [] hello | input FILE [] " },
		{ PAIR, "{'each':[[[1,2],'s'],{'b':'t','a':[3]}]}",
		  "each: a INT64 [2] [1,2]; b JSON [] \"s\" | a INT64 [1] [3]; b JSON [] \"t\"" },
		{ PAIR, "{'each':[[5],[6]],'method':'other'}", "each: q INT8 [1] [5] | q INT8 [1] [6]; method=other" },
		{ PAIR, "{'method':'other','each':[[5]]}", "each: q INT8 [1] [5]; method=other" },
		{ ANY, "{'parameters':{'a':1},'each':[[1]]}", "each: x INT64 [1] [1]; parameters={\"a\":1}" },
		{ ANY, "{'data':{'ref':'npy'}}", "x INT8 [2] [5,6]" },
		{ PAIR, "{'data':{'ref':'npy'},'method':'other'}", "q INT8 [2] [5,6]; method=other" },
		{ "{\"type\":\"file\"}", "{'data':{'ref':'bytes:hello','name':'a'}}", "input FILE [] hello" },
		{ ANY, "{'each':[1,{'ref':'npy'},[2]]}", "each: x INT64 [] [1] | x INT8 [2] [5,6] | x INT64 [1] [2]" },
		{ PAIR_OF_FILES, "{'data':{'g':{'ref':'bytes:b'},'f':{'content':'YQ=='}}}", "f FILE [] a; g FILE [] b" },
	};
	check_rows(true, rows, ARRAY_SIZE(rows));
}

static void test_refused(void **state)
{
	static const struct row rows[] = {
		{ ANY, "", BAD "byte 0: the text ends too early" },
		{ ANY, "7", BAD "byte 1: the text ends too early" },
		{ ANY, "{}", BAD "'data', the input of method 'run', is missing" },
		{ ANY, "{'data':1,'data':2}", BAD "byte 10: 'data' comes twice" },
		{ ANY, "{'inputs':1}", BAD "byte 1: unknown member 'inputs'; a run has: data, each, parameters, debug" },
		{ ANY, "{'python':'gASV'}", BAD "unpickling it runs foreign code; send the value itself as JSON" },
		{ ANY, "{'data':[[1,2],[3]]}",
		  BAD "input 'x', element [1]: the nesting is uneven: a list of 1 came after one of 2" },
		{ ANY, "{'data':[[1],2]}",
		  BAD "input 'x', element [1]: the nesting is uneven: an element came where a list" },
		{ ANY, "{'data':[1,[2]]}",
		  BAD "input 'x', element 1: the nesting is uneven: a list came where an element" },
		{ ANY, "{'data':[[],[1]]}", BAD "the nesting is uneven: a list of 1 came after one of 0" },
		{ ANY, "{'data':[1,true]}", BAD "input 'x', element 1: a number is expected, but true came" },
		{ ANY, "{'data':[true,1]}", BAD "input 'x', element 1: true or false is expected, but 1 came" },
		{ ANY, "{'data':['a',1]}", BAD "input 'x', element 1: a string is expected, but 1 came" },
		{ ANY, "{'data':[1,null]}", BAD "input 'x', element 1: null came" },
		{ ANY, "{'data':[99999999999999999999]}",
		  BAD "input 'x', element 0: 99999999999999999999 does not fit INT64" },
		{ ANY, "{'data':[1e999]}", BAD "input 'x', element 0: 1e999 does not fit FP64" },
		{ ANY, "{'data':[NaN]}", BAD "byte 9: a value is expected; NaN" },
		{ TENSOR("x", "INT32", "[2]"), "{'data':[1,1.5]}",
		  BAD "input 'x', element 1: 1.5 is not a whole number" },
		{ TENSOR("x", "INT32", "[2]"), "{'data':[1,3000000000]}",
		  BAD "input 'x', element 1: 3000000000 does not fit INT32" },
		{ TENSOR("x", "INT32", "[2]"), "{'data':[1]}", BAD "input 'x': shape [1] came, but [2] is expected" },
		{ TENSOR("x", "BF16", "[1]"), "{'data':[4e38]}", BAD "input 'x', element 0: 4e38 does not fit BF16" },
		{ TENSOR("x", "FP16", "[2]"), "{'data':[65519,65520]}",
		  BAD "input 'x', element 1: 65520 does not fit FP16" },
		{ FIXED, "{'data':[1,2]}", BAD "input 'x': shape [2] came, but [-1,2] is expected" },
		{ ANY, "{'data':[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}", BAD "nested deeper than 16" },
		{ "{\"type\":\"integer\"}", "{'data':1.5}", BAD "input 'input'" },
		{ "{\"type\":\"dict\",\"properties\":{\"k\":{\"type\":\"integer\"}}}", "{'data':{'k':'a'}}",
		  BAD "input 'input'" },
		{ "{\"type\":\"dict\",\"properties\":{}}", "{'data':{'k':01}}", BAD "byte 13: '01' is not a JSON" },
		{ "{\"type\":\"file\"}", "{'data':'abc'}",
		  BAD "a file, {\"content\": base64}, is expected, but a string" },
		{ "{\"type\":\"file\"}", "{'data':{'content':'a-b='}}",
		  BAD "content is not base64 at its character 1" },
		{ "{\"type\":\"file\"}", "{'data':{'content':'QQ=='},'data':1}", BAD "'data' comes twice" },
		{ "{\"type\":\"file\"}", "{'data':{'content':'QR=='}}", BAD "content is not base64" },
		{ "{\"type\":\"file\"}", "{'data':{'content':'QUJD='}}", BAD "content is not base64" },
		{ "{\"type\":\"file\"}", "{'data':{'content':'Q'}}", BAD "content is not base64" },
		{ "{\"type\":\"file\"}", "{'data':{'name':'a'}}",
		  BAD "input 'input', byte 19: 'content', the file in base64, is missing" },
		{ "{\"type\":\"file\"}", "{'data':{'url':'a'}}",
		  BAD "unknown member 'url'; a file has: content, name" },
		{ PAIR, "{'data':[[1]]}", BAD "data: the tuple has 2 elements, but 1 came" },
		{ PAIR, "{'data':[]}", BAD "data: the tuple has 2 elements, but 0 came" },
		{ PAIR, "{'data':[[1],'b',3]}", BAD "data: the tuple has 2 elements, but more came" },
		{ PAIR, "{'data':{'a':[1]}}", BAD "input 'b' is missing" },
		{ PAIR, "{'data':{'a':[1],'a':[1]}}", BAD "input 'a' comes twice" },
		{ PAIR, "{'data':{'c':[1]}}", BAD "method 'run' has no input 'c'; it has: 'a', 'b'" },
		{ PAIR, "{'data':5}",
		  BAD "data: a list of the arguments, or an object with their names, is expected, but a number came" },
		{ PAIR, "{'method':'none','data':1}", BAD "byte 10: the servable has no method 'none'" },
		{ PAIR, "{'data':[1000],'method':'other'}", BAD "input 'q', element 0: 1000 does not fit INT8" },
		{ ANY, "{'data':{'ref':'gone'}}", BAD "input 'x': references are not followed here" },
		{ ANY, "{'data':{'ref':'bytes:a'}}", BAD "input 'x': what 'bytes:a' gives is no .npy file; an array that lies" },
		{ ANY, "{'data':{'ref':5}}", BAD "ref, a name such as blob:sha256:... or an address, is expected, but a number" },
		{ ANY, "{'data':{}}", BAD "input 'x', byte 9: an object in place of an array must be {\"ref\": ...}" },
		{ ANY, "{'data':{'a':1}}", BAD "unknown member 'a'; a reference has: ref" },
		{ FIXED, "{'data':{'ref':'npy'}}", BAD "input 'x'" },
		{ FIXED, "{'each':[[[1,2]],{'ref':'npy'}]}", BAD "each, item 1: input 'x'" },
		{ "{\"type\":\"file\"}", "{'data':{'ref':'bytes:a','content':'YQ=='}}", BAD "'content' and 'ref' came" },
		{ ANY, "{'each':[]}", BAD "byte 9: a list of inputs is expected, but it is empty" },
		{ ANY, "{'each':5}", BAD "each: a list of inputs is expected, but a number came" },
		{ ANY, "{'each':[1,2,3,4,5,6]}", "OUT_OF_RANGE: each, item 5: more than 5 inputs came (limits.each)" },
		{ ANY, "{'each':[1],'data':1}", BAD "'data' and 'each' came: one input, or many" },
		{ ANY, "{'data':1,'each':[1]}", BAD "'data' and 'each' came: one input, or many" },
		{ ANY, "{'each':[1,[2,true]]}", BAD "each, item 1: input 'x', element 1: a number is expected, but true came" },
		{ FIXED, "{'each':[[[1,2]],[1,2]]}", BAD "each, item 1: input 'x': shape [2] came, but [-1,2] is expected" },
		{ PAIR, "{'each':[[[1],'a'],[[1]]]}", BAD "each, item 1: " },
		{ PAIR, "{'each':[[[1],'a'],{'a':[1]}]}", BAD "each, item 1: input 'b' is missing" },
		{ PAIR, "{'each':[[5],[1000]],'method':'other'}", BAD "each, item 1: input 'q', element 0: 1000 does not fit INT8" },
		{ ANY, "{'expires_s':0,'data':1}", BAD "expires_s: 0 is no number of seconds" },
		{ ANY, "{'parameters':[],'data':1}", BAD "parameters: an object is expected" },
		{ ANY, "{'parameters':{'a':1,'a':2},'data':1}", BAD "parameters: " },
		{ ANY, "{'debug':1}", BAD "byte 9: debug: true or false is expected, but a number came" },
		{ ANY, "{'timeout_s':-1}", BAD "timeout_s: -1 is no number of seconds" },
		{ ANY, "{'timeout_s':'1'}", BAD "timeout_s: a number of seconds is expected, but a string came" },
	};
	check_rows(true, rows, ARRAY_SIZE(rows));
}

/* A deep body costs one error, not the stack. */
static void test_deep(void **state)
{
	_cleanup_(signature_destroyp) struct signature *signature =
		method_of("{\"type\":\"list\",\"item_type\":\"string\"}");
	static char text[10100];
	memcpy(text, "{\"data\":", 8);
	memset(text + 8, '[', 10000);
	struct body body = { .dlhub = true, .signature = signature, .data = (uint8_t *)text, .len = 10008 };
	_cleanup_free_ char *whole = body_dump(&body, body.len, body.len, 0);
	assert_non_null(strstr(whole, "nested deeper than 16 (limits.json_depth)"));
	check_cuts(&body, whole);
}

TEST_MAIN(cmocka_unit_test(test_accepted), cmocka_unit_test(test_refused), cmocka_unit_test(test_deep))
