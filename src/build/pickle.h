/* build/pickle.h - what a pickle says of the packages it needs, found by searching its bytes. Nothing is
 * unpickled: that happens in a worker's sandbox only. */
#pragma once

#include "build/describe.h"

struct pickle_facts {
	char sklearn_version[24]; /* "1.5.0"; empty where it says none */
	bool sklearn;		  /* names a module of scikit-learn */
	bool torch;
};

/* Adds the requirements of well-known packages whose modules are named ("xgboost.", …). `bytes` may hold arrays
 * between the pickle's own codes, as joblib's do. */
void pickle_scan(struct str bytes, struct pickle_facts *ret, struct inspection *inspection);
