/* cli/config.h - the configuration file, XDG_CONFIG_HOME/dlhub/config.json: {"endpoint", "token"}, mode 0600. */
#pragma once

#include "base/err.h"

struct config {
	char *endpoint; /* owned or NULL */
	char *token;	/* owned or NULL; belongs to that endpoint alone */
};

/* Its path; returned owned. ERR_FAILED_PRECONDITION without HOME and XDG_CONFIG_HOME. */
must_check enum err_code config_path(char **ret, struct err *err);
/* All NULL where there is no file. ERR_INVALID_ARGUMENT for one that is not as it should be. */
must_check enum err_code config_load(struct config *ret, struct err *err);
must_check enum err_code config_save(const struct config *config, struct err *err);
void config_done(struct config *config);
/* XDG_DATA_HOME/dlhub, the data folder that `dlhub serve` takes by itself; returned owned. */
must_check enum err_code config_data_folder(char **ret, struct err *err);
