/* publish/steps.h - the steps of a publish, and what they share. job.c walks along them. Private to this folder.
 *
 * A step either starts a program (`command`), does work on the pool (`work`; after a command: reads what it left), or
 * has neither and `begin` does as it likes on the loop and calls job_step_done() or job_step_failed(). */
#pragma once

#include "publish/job.h"

struct step {
	const char *stage; /* as the task tells it */
	double progress;
	bool (*skip)(struct job *job); /* there is nothing to do */
	/* Fills argv; texts made for it go to `owned` by own(). */
	void (*command)(struct job *job, const char **argv, char **owned);
	const char **(*environment)(void); /* of the program, returned owned; NULL: the usual one */
	enum err_code (*work)(struct job *job, struct err *err);
	void (*begin)(struct job *job);
	/* Its failure does not fail the publish: notes what job->err says. NULL: it does. */
	void (*forgive)(struct job *job);
};

/* steps_inspect.c */
extern const struct step step_unpack, step_inspect, step_inspect_python, step_unpack_export;
/* steps_environment.c */
extern const struct step step_choose_environment, step_install, step_read_lock;
/* store.c: files into blobs, the manifest, and the read-only tree that workers see */
extern const struct step step_store;
/* steps_test.c */
extern const struct step step_test, step_publish;
/* steps_pipeline.c */
extern const struct step step_read_pipeline, step_test_pipeline;

/* The walk. job_step_run() begins job->step; job_go_back() only says where it goes on. */
void job_step_run(struct job *job);
void job_step_done(struct job *job);
void job_step_failed(struct job *job);
void job_go_back(struct job *job, const struct step *to);

const struct settings *job_settings(const struct job *job);
/* JOB_FOLDER/name; returned owned. */
char *job_path(const struct job *job, const char *name);
/* A document that dlhub-build or a worker left; *ret returned owned. */
must_check enum err_code job_read_document(const char *path, json_t **ret, struct err *err);
/* DATA/environments/DIGEST[/file]; returned owned. */
char *job_environment_path(const struct job *job, const char *file);
/* OpenVINO can be tried on the files as they are: the version needs no environment, unless that fails. */
bool job_native_reads_files(const struct job *job);
/* Put a text into the list of a command's owned texts, and return it. */
char *own(char **owned, char *text);
char *own_number(char **owned, int64_t number);
