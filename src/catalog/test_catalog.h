/* catalog/test_catalog.h - what the tests of catalog/ share: a catalog in a folder of its own, and rows to add. */
#pragma once

#include "base/alloc.h"
#include "base/test.h"
#include "catalog/catalog.h"

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

struct fixture {
	char directory[64];
	struct settings *settings;
	struct catalog *catalog;
};

/* Fails the test with the error's words. */
#define assert_ok(call)                                                                                                \
	do {                                                                                                           \
		struct err ok_err_ = ERR_INIT;                                                                         \
		struct err *err = &ok_err_;                                                                            \
		enum err_code ok_code_ = (call);                                                                       \
		if (ok_code_ != ERR_OK)                                                                                \
			fail_msg("%s: %s: %s", #call, err_code_name(ok_code_), err_text(err));                         \
		err_done(err);                                                                                         \
	} while (0)

static inline int fixture_setup(void **state)
{
	struct fixture *fixture = NEW(struct fixture);
	snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/catalog-test-XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	fixture->settings = settings_create();
	assert_ok(catalog_open(fixture->directory, fixture->settings, &fixture->catalog, err));
	*state = fixture;
	return 0;
}

static inline int fixture_unlink(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static inline int fixture_teardown(void **state)
{
	struct fixture *fixture = *state;
	catalog_close(fixture->catalog);
	settings_destroy(fixture->settings);
	nftw(fixture->directory, fixture_unlink, 8, FTW_DEPTH | FTW_PHYS);
	free(fixture);
	return 0;
}

#define TEST_IN_CATALOG(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

struct version_options {
	const char *owner, *name, *content; /* the digest is of `content` */
	const char *title, *access;	    /* access as access_list_parse() reads it */
	const char *datacite, *dlhub;	    /* JSON; NULL: made from title */
	const char *servable;		    /* JSON; NULL: an ONNX Model */
	int64_t published_ms;
};

/* A row ready for catalog_version_add(); version_row_done(). */
static inline struct version_row make_version(const struct version_options *options)
{
	struct version_row row = { 0 };
	struct digest digest;
	const char *content = options->content ? options->content : "content";
	sha256(content, strlen(content), &digest);
	digest_format(&digest, row.digest);
	row.owner = xstrdup(options->owner ? options->owner : "ann");
	row.name = xstrdup(options->name ? options->name : "iris");
	row.manifest = xasprintf(
		"{\"environment\":{},\"files\":[{\"bytes\":1,\"path\":\"m\",\"sha256\":\"%s\"}],\"servable\":{}}",
		row.digest);
	_cleanup_free_ char *datacite =
		options->datacite ? xstrdup(options->datacite) :
				    xasprintf("{\"titles\":[{\"title\":\"%s\"}]}", options->title ?: "A title");
	row.description = xasprintf("{\"datacite\":%s,\"dlhub\":%s}", datacite, options->dlhub ?: "{\"domains\":[]}");
	row.servable =
		xstrdup(options->servable ?: "{\"type\":\"ONNX Model\",\"shim\":\"onnx.ONNXServable\",\"methods\":{}}");
	row.serving = xstrdup("{\"engine\":\"openvino\"}");
	row.publisher = xstrdup("ann");
	row.published_ms = options->published_ms;
	assert_ok(access_list_parse(row.owner, options->access ?: "{\"visible_to\":[\"public\"]}", &row.access, err));
	return row;
}

/* Adds it and gives its number. */
static inline int64_t add_version(struct catalog *catalog, const struct version_options *options)
{
	struct version_row row = make_version(options);
	assert_ok(catalog_version_add(catalog, &row, NULL, NULL, err));
	int64_t number = row.number;
	version_row_done(&row);
	return number;
}
