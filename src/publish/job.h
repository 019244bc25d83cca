/* publish/job.h - one publish under way: a walk along the steps of steps.h. Serving loop. */
#pragma once

#include "publish/engines.h"
#include "publish/metadata.h"
#include "publish/publish.h"
#include "publish/trial.h"

struct process;
struct step;

struct job {
	struct job *next;
	struct publisher *publisher;
	char *task, *user;
	char *folder; /* DIR/publish/TASK: upload, metadata.json, files/, inspect.json, stdout */
	char *filename;
	struct metadata metadata;
	const struct step *const *steps; /* of its kind, a NULL behind the last */
	size_t step;
	bool ending, abandoned;
	int log_fd;
	struct process *process;
	struct timer *deadline;
	struct err err;
	/* what the steps found */
	json_t *inspected;
	char environment[SHA256_HEX + 1]; /* "" where none is needed */
	json_t *lock;			  /* the environment's resolved packages */
	json_t *files;			  /* [{"path","bytes","sha256"}] */
	char compared[SHA256_HEX + 1]; /* of the manifest with the framework's environment, where the version's has none */
	json_t *exported;		  /* how the native worker runs what the framework exported; NULL: nothing */
	struct version_row row;
	/* trying the engines */
	struct candidates candidates;
	struct candidate *trying; /* borrowed of them */
	struct trial_plan *plan;  /* owned */
	struct trial trial;	  /* of the one that is being tried */
	struct trial referee;	  /* of the framework, where it was tried and is right */
	/* of a pipeline */
	const struct principal *principal; /* shared (ref): the publisher, who may run its steps */
	struct run *run;		   /* the test that is under way */
};

struct publisher {
	struct publisher_parts parts;
	struct job *jobs;    /* under way */
	size_t active;
	bool waking, wake_again; /* the pool is looking for work; look again when it has */
	bool ending;
	bool recovered; /* only then jobs begin: the sweep must not meet what they are about to need */
	char **strays;	/* folders of uploads that were there at the start; NULL at the end */
};

/* Goes on from job->step; at the end job_finished() is called. */
void job_start(struct job *job);
/* Kills what runs and forgets it, without a word in the catalog: the next start takes it up again. */
void job_abandon(struct job *job);
void job_free(struct job *job);
/* publisher.c */
void job_finished(struct job *job);

/* A line of the build log. */
void job_log(struct job *job, const char *fmt, ...) _printf_(2, 3);
