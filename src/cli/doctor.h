/* cli/doctor.h - the checks of `dlhub doctor` that look at this machine. */
#pragma once

#include "cli/cli.h"

enum doctor_grade { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL, DOCTOR_COUNT };

struct doctor {
	struct cli *cli;
	json_t *lines; /* [{"check","grade","finding","what_to_do"?}]; borrowed */
	size_t grades[DOCTOR_COUNT];
};

/* One line; `advice` may be NULL. */
void doctor_report(struct doctor *doctor, enum doctor_grade grade, const char *what, const char *finding,
		   const char *advice);
/* dlhubd, dlhub-build and the workers, and whether the native one finds OpenVINO. */
void doctor_check_programs(struct doctor *doctor);
void doctor_check_python(struct doctor *doctor, const char *python);
/* `data` NULL: that of `dlhub serve`, where it is there. */
void doctor_check_data(struct doctor *doctor, const char *data);
