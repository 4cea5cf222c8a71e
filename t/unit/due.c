/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Proves that the heap of due times gives out what is due, in order and once,
 * whatever was moved or taken away meanwhile: beside a plain list that does the
 * same the slow way, and with a hundred thousand.
 */

#include <apr_general.h>
#include <stdlib.h>

#include "../../refresh/due.h"
#include "tap.h"

#define MANY 100000

static apr_pool_t *pool;

/* A generator of our own: the same numbers everywhere. */
static apr_uint32_t chance(apr_uint32_t below)
{
    static apr_uint32_t state = 1;

    state = state * 1664525u + 1013904223u;
    return (state >> 8) % below;
}

static void test_few(void)
{
    staple_due_t *due = staple_due_make(3, pool);
    apr_size_t number = 99;

    ok(!staple_due_take(due, 1000, &number), "nothing is due at first");
    staple_due_set(due, 0, 30);
    staple_due_set(due, 1, 10);
    staple_due_set(due, 2, 20);
    ok(!staple_due_take(due, 9, &number), "nothing before its moment");
    ok(staple_due_take(due, 10, &number) && number == 1, "one at its moment");
    ok(!staple_due_take(due, 10, &number), "... once");
    staple_due_set(due, 0, 15);
    ok(staple_due_take(due, 100, &number) && number == 0,
       "what was moved to the front is the first");
    staple_due_set(due, 1, 5);
    staple_due_set(due, 1, 50);
    ok(staple_due_take(due, 100, &number) && number == 2,
       "what was moved to the back is not");
    staple_due_clear(due, 1);
    staple_due_clear(due, 1);
    ok(!staple_due_take(due, 100, &number) && staple_due_count(due) == 0,
       "what was cleared is not due any more");
    staple_due_make(0, pool);
}

/* ----- beside a list ----- */

#define SOME 50

typedef struct list_t {
    int is_there[SOME];
    apr_time_t when[SOME];
} list_t;

/* Of the list, when the first is due; 0: none is. */
static apr_time_t first_of(const list_t *list)
{
    apr_time_t first = 0;
    int i;

    for (i = 0; i < SOME; i++) {
        if (list->is_there[i] && (!first || list->when[i] < first)) {
            first = list->when[i];
        }
    }
    return first;
}

/* Whether both give out the same, if anything. */
static int take_both(staple_due_t *due, list_t *list, apr_time_t now)
{
    apr_time_t first = first_of(list);
    apr_size_t number;

    if (!staple_due_take(due, now, &number)) {
        return !first || first > now;
    }
    if (!list->is_there[number] || list->when[number] != first
        || first > now) {
        return 0;
    }
    list->is_there[number] = 0;
    return 1;
}

static int do_something(staple_due_t *due, list_t *list)
{
    apr_uint32_t number = chance(SOME), when = 1 + chance(1000);

    switch (chance(3)) {
    case 0:
        staple_due_clear(due, number);
        list->is_there[number] = 0;
        return 1;
    case 1:
        return take_both(due, list, when);
    default:
        staple_due_set(due, number, when);
        list->is_there[number] = 1;
        list->when[number] = when;
        return 1;
    }
}

static void test_beside_list(void)
{
    staple_due_t *due = staple_due_make(SOME, pool);
    list_t list = { .is_there = { 0 } };
    int i;

    for (i = 0; i < 200000 && do_something(due, &list); i++) {
        continue;
    }
    is_int(i, 200000, "as a list gives them out, whatever was done before");
}

/* ----- a hundred thousand ----- */

/* A day of renewals, each due again an hour after its turn or so. */
static void test_many(void)
{
    staple_due_t *due = staple_due_make(MANY, pool);
    apr_size_t number, turns = 0;
    apr_time_t now, last = 0;
    int is_in_order = 1;
    apr_uint32_t i;

    for (i = 0; i < MANY; i++) {
        staple_due_set(due, i, apr_time_from_sec(chance(3600)));
    }
    for (now = 0; now < apr_time_from_sec(86400);
         now += apr_time_from_sec(1)) {
        while (staple_due_take(due, now, &number)) {
            is_in_order &= now >= last;
            last = now;
            turns++;
            staple_due_set(due, number,
                           now + apr_time_from_sec(1800 + chance(3600)));
        }
    }
    ok(is_in_order, "100,000: in order");
    is_int((long)staple_due_count(due), MANY, "... and none is lost");
    ok(turns > 23 * MANY && turns < 25 * (apr_size_t)MANY,
       "... each about once an hour: %lu turns", (unsigned long)turns);
}

int main(void)
{
    apr_initialize();
    apr_pool_create(&pool, NULL);
    test_few();
    test_beside_list();
    test_many();
    apr_pool_destroy(pool);
    apr_terminate();
    return tap_done();
}
