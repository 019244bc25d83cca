/* cli/publish_content.h - what is sent when PATH is published: the file itself, or an archive made of it. */
#pragma once

#include "cli/cli.h"

struct content {
	int fd;
	int64_t bytes;	/* of what is sent */
	char *filename; /* as the hub is told; owned */
	char *about;	/* "a folder of 3 files, 12 MB"; owned */
};

/* `path` alone where it is a model file; else, or with a requirements file, an archive. */
must_check enum err_code content_open(const char *path, const char *requirements, struct content *ret, struct err *err);
void content_done(struct content *content);
