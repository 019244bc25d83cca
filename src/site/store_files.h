/* site/store_files.h - the part of a site's store that reads the disk: whether a version is here and whole, its tree, and
 * what gives way. For site/store.c. */
#pragma once

#include "blob/blob.h"
#include "wire/site_message.h"

/* Looked at on the pool: version_check() by one thread at a time. */
struct version_check {
	char *directory; /* of the store */
	struct blob_store *blobs; /* borrowed */
	char digest[SHA256_HEX + 1]; /* of the version, and of its manifest */
	int64_t cache_bytes; /* above which the longest unused gives way */
	bool deep; /* files are read and compared with their digests, once for each process */
	/* found */
	bool looked, have_manifest;
	struct missing {
		struct digest digest;
		int64_t bytes; /* -1: not known */
	} *missing;
	size_t missing_count;
	bool system_packages;
	char *requirements; /* of the environment: a line each, exact versions; NULL: it has none */
};
void version_check_init(struct version_check *check, const char *directory, struct blob_store *blobs, const char *digest,
			int64_t cache_bytes);
/* What is damaged is removed and missing then; where nothing is missing, the tree of the version is there afterwards. */
must_check enum err_code version_check(struct version_check *check, struct err *err);
void version_check_done(struct version_check *check);

/* Where the store has grown past its bound: blobs of no version go, but for young ones. Pool. */
void store_drop_inputs(const char *directory, struct blob_store *blobs, int64_t cache_bytes);

/* The versions that were found whole since this process began. Loop thread. */
struct known_versions {
	char (*digests)[SHA256_HEX + 1];
	size_t count;
};
bool known_versions_has(const struct known_versions *known, const char *digest);
void known_versions_add(struct known_versions *known, const char *digest);
void known_versions_done(struct known_versions *known);
