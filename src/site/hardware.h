/* site/hardware.h - what this machine has, as a site tells its hub. */
#pragma once

#include "base/settings.h"
#include "site/documents.h"

/* Runs the interpreter of environments.python once, to ask for its version: at start. `programs`: the folder of the worker
 * programs. */
void hardware_detect(const struct settings *settings, const char *programs, struct site_hardware *ret);
