/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the processes of a server tell each other about the refresher, in
 * shared memory: its heartbeat, which the refresher writes and all others
 * read; and who the children are, which the parent notes for the day on which
 * it is killed.
 *
 * The one idea: each number is one word and each word has one writer, so
 * nobody waits for anybody. Children could write the second kind, too; all that
 * they would gain is a refresher that ends early or late after its parent.
 */

#include "process_int.h"

#include <signal.h>
#include <unistd.h>

#include <ap_mpm.h>

#include "staple_clock.h"

typedef _Atomic apr_int32_t child_t;
_Static_assert(sizeof(child_t) == sizeof(apr_int32_t), "a word for a child");

static board_t *board_of(const staple_process_t *process)
{
    return process->board.base;
}

static child_t *children_of(const staple_process_t *process)
{
    return process->children.base;
}

/* ----- parent ----- */

apr_status_t staple_process_make_board(staple_process_t *process)
{
    const char *weaker;
    int max = 0;
    apr_status_t rv = staple_memory_make(&process->board, NULL,
                                         sizeof(board_t), &weaker);

    if (rv) {
        return rv;
    }
    ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &max);
    process->children_max = max > 0 ? max : 1;
    rv = staple_memory_make_open(&process->children,
                                 (apr_size_t)process->children_max
                                 * sizeof(child_t));
    if (rv) {
        staple_memory_free(&process->board);
    }
    return rv;
}

void staple_process_free_board(staple_process_t *process)
{
    staple_memory_free(&process->board);
    staple_memory_free(&process->children);
}

void staple_process_note_child(staple_process_t *process, int slot, pid_t pid)
{
    if (slot >= 0 && slot < process->children_max) {
        atomic_store_explicit(&children_of(process)[slot], (apr_int32_t)pid,
                              memory_order_relaxed);
    }
}

/* Acquire: pairs with the release in staple_process_take_board, so that the
 * heartbeat read next is not one of a predecessor. */
static pid_t pid_on(const board_t *board)
{
    return (pid_t)atomic_load_explicit(&board->pid, memory_order_acquire);
}

/* The system may have given it the pid of a predecessor, whose heartbeats were
 * before its fork. */
int staple_process_has_beaten(const staple_process_t *process)
{
    const board_t *board = board_of(process);

    return pid_on(board) == process->proc.pid
           && atomic_load_explicit(&board->beat, memory_order_relaxed)
              >= process->forked;
}

/* For a pid that it had from a predecessor it has more time, which does no
 * harm. */
int staple_process_is_looking_up(const staple_process_t *process)
{
    return (pid_t)atomic_load_explicit(&board_of(process)->looking_up,
                                       memory_order_relaxed)
           == process->proc.pid;
}

/* ----- the refresher ----- */

/* Where it fails, staple_process_take_board will fail, too, and say why. */
void staple_process_note_lookup(staple_process_t *process)
{
    if (!staple_memory_write(&process->board)) {
        atomic_store_explicit(&board_of(process)->looking_up,
                              (apr_int64_t)getpid(), memory_order_relaxed);
    }
}

void staple_process_beat(staple_process_t *process)
{
    atomic_store_explicit(&board_of(process)->beat, staple_clock_now(),
                          memory_order_relaxed);
}

apr_status_t staple_process_take_board(staple_process_t *process)
{
    apr_status_t rv = staple_memory_write(&process->board);
    board_t *board = board_of(process);

    if (rv) {
        return rv;
    }
    staple_process_beat(process);
    staple_process_clear_marks(process);
    atomic_store_explicit(&board->born, apr_time_now(), memory_order_relaxed);
    atomic_store_explicit(&board->restarts, process->restarts,
                          memory_order_relaxed);
    atomic_store_explicit(&board->pid, (apr_uint32_t)getpid(),
                          memory_order_release);
    return APR_SUCCESS;
}

void staple_process_settle(staple_process_t *process)
{
    atomic_store_explicit(&board_of(process)->is_settled, 1,
                          memory_order_relaxed);
}

int staple_process_is_settled(const staple_process_t *process)
{
    return (int)atomic_load_explicit(&board_of(process)->is_settled,
                                     memory_order_relaxed);
}

void staple_process_note_look(staple_process_t *process)
{
    atomic_store_explicit(&board_of(process)->has_looked, 1,
                          memory_order_release);
}

/* Acquire: pairs with the release in staple_process_note_look, so that whoever
 * sees it sees in the ring what files have brought. */
int staple_process_has_looked(const staple_process_t *process)
{
    return (int)atomic_load_explicit(&board_of(process)->has_looked,
                                     memory_order_acquire);
}

/* A pid may have been given to somebody else since; a child of the server is
 * in its process group, as the refresher is. */
int staple_process_has_children(const staple_process_t *process)
{
    pid_t group = getpgrp();
    int i;

    for (i = 0; i < process->children_max; i++) {
        pid_t pid = (pid_t)atomic_load_explicit(&children_of(process)[i],
                                                memory_order_relaxed);

        if (pid > 0 && pid != process->parent && getpgid(pid) == group) {
            return 1;
        }
    }
    return 0;
}

/* ----- children, and any process ----- */

void staple_process_leave(staple_process_t *process)
{
    staple_memory_disown(&process->board);
}

void staple_process_state(const staple_process_t *process,
                          staple_process_state_t *state)
{
    const board_t *board = board_of(process);

    state->pid = pid_on(board);
    state->born = atomic_load_explicit(&board->born, memory_order_relaxed);
    state->restarts = atomic_load_explicit(&board->restarts,
                                           memory_order_relaxed);
    state->silence = state->pid
                     ? staple_clock_now()
                       - atomic_load_explicit(&board->beat,
                                              memory_order_relaxed)
                     : -1;
}
