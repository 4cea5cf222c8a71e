/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Whose bytes were being read when a refresher crashed. What a stranger sends
 * is parsed in the refresher; where that ends it, the next one would ask for
 * the same bytes, and end as well.
 *
 * The refresher marks the certificate (its slot) whose bytes it parses or
 * judges, and takes the mark back afterwards. The parent looks at the marks
 * when a refresher has crashed, and counts. It forks the next one with what it
 * has counted, so nothing has to be handed over. Example: a response that
 * crashes whoever judges it is fetched by three refreshers in turn; the fourth
 * finds three crashes at its slot and leaves the certificate alone for an
 * hour, while all others are refreshed.
 *
 * Several threads may have a mark each. After a first crash one thread does
 * the work (staple_process_has_crashed), so a mark tells the culprit.
 */

#include "process_int.h"
#include "staple_clock.h"

#include <signal.h>

/* So many crashes at one certificate, and for how long it is left alone. */
#define CRASHES_MAX 3
#define SET_ASIDE_SPAN apr_time_from_sec(3600)

void staple_process_mark(staple_process_t *process, int thread, int slot)
{
    board_t *board = process->board.base;

    if (thread >= 0 && thread < STAPLE_PROCESS_MARKS) {
        atomic_store_explicit(&board->marks[thread], slot + 1,
                              memory_order_relaxed);
    }
}

/* httpd hands over the number of the signal that ended a process in place of
 * an exit status; those of ours are none of these. A SIGKILL comes from
 * outside, and says nothing of what was being read. */
static int is_crash(int status)
{
    return status == SIGSEGV || status == SIGBUS || status == SIGABRT
           || status == SIGILL || status == SIGFPE;
}

/* The record of a slot; a new one takes the place of the oldest. */
static suspect_t *suspect_of(staple_process_t *process, int slot)
{
    suspect_t *oldest = process->suspects;
    int i;

    for (i = 0; i < STAPLE_PROCESS_MARKS; i++) {
        suspect_t *suspect = &process->suspects[i];

        if (suspect->crashes && suspect->slot == slot) {
            return suspect;
        }
        if (suspect->last < oldest->last) {
            oldest = suspect;
        }
    }
    memset(oldest, 0, sizeof(*oldest));
    oldest->slot = slot;
    return oldest;
}

void staple_process_count_crash(staple_process_t *process, int status)
{
    const board_t *board = process->board.base;
    int i;

    for (i = 0; i < STAPLE_PROCESS_MARKS && is_crash(status); i++) {
        int mark = atomic_load_explicit(&board->marks[i],
                                        memory_order_relaxed);
        suspect_t *suspect = mark ? suspect_of(process, mark - 1) : NULL;

        if (suspect) {
            suspect->crashes++;
            suspect->last = staple_clock_now();
            process->has_crashed = 1;
        }
    }
}

void staple_process_note_told(staple_process_t *process)
{
    int i;

    for (i = 0; i < STAPLE_PROCESS_MARKS; i++) {
        process->suspects[i].is_told
            = process->suspects[i].crashes >= CRASHES_MAX;
    }
}

void staple_process_clear_marks(staple_process_t *process)
{
    int i;

    for (i = 0; i < STAPLE_PROCESS_MARKS; i++) {
        staple_process_mark(process, i, -1);
    }
}

int staple_process_has_crashed(const staple_process_t *process)
{
    return process->has_crashed;
}

apr_time_t staple_process_set_aside(const staple_process_t *process, int slot,
                                    int *is_new)
{
    int i;

    *is_new = 0;
    for (i = 0; i < STAPLE_PROCESS_MARKS; i++) {
        const suspect_t *suspect = &process->suspects[i];

        if (suspect->crashes >= CRASHES_MAX && suspect->slot == slot) {
            *is_new = !suspect->is_told;
            return apr_time_now() + suspect->last + SET_ASIDE_SPAN
                   - staple_clock_now();
        }
    }
    return 0;
}
