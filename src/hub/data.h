/* hub/data.h - the data folder: made, locked, its format checked, its first administrator. Blocks: at start. */
#pragma once

#include "catalog/catalog.h"

struct data_folder {
	char *path; /* absolute; owned */
	int lock_fd;
};

/* Makes the folder where it is absent. ERR_FAILED_PRECONDITION: another hub has it, it is of a newer format, or it
 * is somebody else's (not empty and without a format). */
must_check enum err_code data_folder_open(const char *path, struct data_folder *ret, struct err *err);
void data_folder_close(struct data_folder *folder);
/* On the first start: the user "admin" and DIR/admin.token (0600). *ret_made says so. */
must_check enum err_code data_folder_first_start(struct data_folder *folder, struct catalog *catalog, bool *ret_made,
						 struct err *err);
