/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_PROCESS_INT_H
#define STAPLE_PROCESS_INT_H

/*
 * What the files of the refresher process have in common:
 *
 *   staple_process.c      the parent's side: fork, supervision, end
 *   process/life.c        the refresher's side, from fork to _exit
 *   process/privileges.c  how it becomes User and Group, and nobody else
 *   process/board.c       what the processes tell each other about it
 *   process/marks.c       whose bytes were being read when one crashed
 */

#include <stdatomic.h>
#include <string.h>

#include <httpd.h>
#include <apr_thread_proc.h>

#include "staple_magic.h"
#include "staple_memory.h"
#include "staple_process.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Exit statuses of the refresher, beside STAPLE_PROCESS_END_SERVER. Not 7 and
 * 15: an MPM forks more slowly after the one, and gives up after the other. */
#define EXIT_NO_BEGINNING 20 /* the work could not begin */
#define EXIT_PRIVILEGED 21   /* privileges could not be given up */
#define EXIT_LIMITED 22      /* somebody has changed its limits */

/** So many refreshers that were killed may be left behind. */
#define STAPLE_PROCESS_LEFT_MAX 3

/** How many threads may have a mark. */
#define STAPLE_PROCESS_MARKS 64

/** Written by the refresher alone, whole words. */
typedef struct board_t {
    _Atomic apr_int64_t beat;     /* monotonic; 0: none */
    _Atomic apr_int64_t born;     /* by the wall clock */
    _Atomic apr_int64_t looking_up; /* the pid of the last one that began to
                                     look up User and Group */
    _Atomic apr_uint32_t pid;     /* stored last: the rest is this one's */
    _Atomic apr_uint32_t restarts;
    _Atomic apr_uint32_t is_settled; /* of the generation; stays */
    _Atomic apr_uint32_t has_looked; /* so does this */
    _Atomic apr_int32_t marks[STAPLE_PROCESS_MARKS]; /* by thread: the slot
                                     whose bytes are read, + 1; 0: none */
} board_t;
_Static_assert(sizeof(board_t) == 3 * 8 + (4 + STAPLE_PROCESS_MARKS) * 4,
               "a board of whole words");

/** A certificate at which refreshers have crashed; the parent's record. */
typedef struct suspect_t {
    int slot;
    unsigned crashes; /* 0: the record is free */
    apr_time_t last;  /* when the last one was, by the steady clock */
    int is_told;      /* a refresher has logged that it is set aside */
} suspect_t;

#define PROCESS_MAGIC 0x50524F43u

struct staple_process_t {
    staple_magic_t magic;
    staple_process_work_t work;
    server_rec *server;
    pid_t parent;            /* who forks, watches and ends it */
    staple_memory_t board;   /* a board_t; the refresher writes */
    staple_memory_t children; /* pids by slot; the parent writes */
    int children_max;        /* slots */

    /* of the parent */
    apr_pool_t *pool;        /* the generation's */
    apr_pool_t *ptemp;       /* of the start; NULL: it is gone */
    apr_pool_t *watch;       /* of httpd's record of proc; NULL: none */
    apr_proc_t proc;         /* pid 0: none is running */
    apr_time_t forked;       /* when; monotonic */
    apr_interval_time_t pause; /* how long proc waits before it begins */
    unsigned restarts;
    unsigned failing;        /* deaths in a row without a heartbeat */
    int is_killed;           /* proc got SIGKILL and has not been reaped */
    int is_hopeless;         /* another one would fare no better */
    pid_t left[STAPLE_PROCESS_LEFT_MAX]; /* that were killed and have not ended:
                                they wait for a disk */
    int left_count;
    int is_full;             /* so none is forked, and that was told */
    int has_crashed;         /* at least once, at some mark */
    suspect_t suspects[STAPLE_PROCESS_MARKS];

    /* of the refresher */
    int is_orphan;           /* the parent's end was told */
};

/* ----- process/board.c ----- */

/** Make the memory; in the parent, once per generation. */
apr_status_t staple_process_make_board(staple_process_t *process);

void staple_process_free_board(staple_process_t *process);

/** In the refresher: from now on the board tells of this process. */
apr_status_t staple_process_take_board(staple_process_t *process);

/** In the parent: whether the refresher that was forked last has given a
 * heartbeat. */
int staple_process_has_beaten(const staple_process_t *process);

/** In the refresher: a name service is asked from now on, which takes as long
 * as it takes. */
void staple_process_note_lookup(staple_process_t *process);

/** In the parent: whether the refresher that was forked last has come that
 * far. */
int staple_process_is_looking_up(const staple_process_t *process);

/** Whether any child of the server is still there. */
int staple_process_has_children(const staple_process_t *process);

/* ----- process/marks.c ----- */

/** In the parent, when a refresher has ended: count a crash at its marks.
 * @param status what httpd says of its end */
void staple_process_count_crash(staple_process_t *process, int status);

/** In the parent, after a fork: that one logs who is set aside. */
void staple_process_note_told(staple_process_t *process);

/** In a new refresher: it reads nothing yet. */
void staple_process_clear_marks(staple_process_t *process);

/* ----- process/life.c ----- */

/** All that happens in the refresher; ends with _exit. */
void staple_process_live(staple_process_t *process) __attribute__((noreturn));

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_PROCESS_INT_H */
