/* schedule/memo_key.h - by what a kept answer is found: one SHA-256 over all that the answer depends on.
 *
 * Servable, version, engine, method, parameters in canonical form, the caller where results are not public, and of each input its
 * name, datatype, shape and bytes. Each part has its length before it, so that nothing collides by standing next to
 * something else. It begins with a secret of this process: nobody can look for inputs that fall into one bucket. */
#pragma once

#include "base/hash.h"
#include "schedule/run.h"

struct memo_keyer;
struct memo_keyer *memo_keyer_create(void);
void memo_keyer_destroy(struct memo_keyer *keyer);
/* `user` is whose results these are, NULL where all share them. false: the parameters are no JSON. */
must_check bool memo_key(struct memo_keyer *keyer, const struct run *run, const char *user, struct digest *ret);
