/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The refresh: which certificates are due, and when does what is under way go
 * on? When and how long are rules (staple_rules.c); what changes for an
 * administrator is told once (refresh/log.c).
 *
 * The one idea: a certificate is a small task with a due time, and the refresh
 * does nothing but take what is due out of a heap (refresh/due.c) and give what
 * is under way a slice of its thread. So a step in which nothing is due costs
 * the same however many certificates there are. What a task does when it is due
 * is a round (refresh/round.c); responses out of files need none
 * (refresh/response_file.c, refresh/response_directory.c). What comes before,
 * and what children wait for, is refresh/start.c.
 *
 * The tasks live as long as the process. Nothing here waits for a responder or
 * for the share: each is given a slice of time. What lies in files is read
 * here, when another thread has found that their file systems answer
 * (refresh/file_check.c).
 */

#include "refresh/refresh_int.h"

#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <apr_hash.h>
#include <apr_strings.h>

#include "staple_clock.h"

/* How often an expired certificate is looked at again. */
#define EXPIRED_PAUSE SECONDS(86400)

/* A step looks at due times this often; while the share owes answers, the
 * responders are waited for in the smaller bits. */
#define SLICE apr_time_from_msec(100)
#define SHARE_SLICE apr_time_from_msec(10)

/* So many jobs, of half a kilobyte each, are worth giving their memory back. */
#define MANY_JOBS 100

/* The clock was set, rather than slewed, if it moved against the monotonic
 * one by more than this between two steps. */
#define CLOCK_JUMP SECONDS(2)

/* ----- when a task wants something ----- */

void staple_refresh_replan(const task_t *task)
{
    staple_due_t *due = task->refresh->due;
    apr_size_t number = (apr_size_t)(task - task->refresh->tasks);

    if (!task->round && !task->is_without_issuer) {
        staple_due_set(due, number, task->due);
    }
    else if (task->round && task->round->wake) {
        staple_due_set(due, number, task->round->wake);
    }
    else {
        staple_due_clear(due, number);
    }
}

void staple_refresh_set_due(task_t *task, apr_time_t due)
{
    task->due = due;
    staple_refresh_replan(task);
}

/* RFC 9919 4.2: an expired certificate is not worth a question. */
static void pass_expired(task_t *task, apr_time_t now)
{
    staple_refresh_set_due(task, now + EXPIRED_PAUSE);
    staple_refresh_count_recovery(task, now);
    if (!task->is_expired) {
        staple_refresh_log_expired(task->refresh->conf.server, task->cert);
        task->is_expired = 1;
    }
}

static void begin_task(task_t *task, apr_time_t now)
{
    if (now > task->cert->not_after) {
        pass_expired(task, now);
    }
    else if (!task->cert->subject) {
        staple_refresh_fetch_issuer(task, now);
    }
    else if (!task->cert->urls->nelts) {
        staple_refresh_remind(task, now);
    }
    else {
        staple_refresh_begin_round(task, now);
    }
}

/* ----- the plan ----- */

/* A held response has its due time; a certificate with nothing is asked for
 * at once. */
static apr_time_t plan_afresh(staple_refresh_t *refresh,
                              const staple_cert_t *cert, apr_time_t now)
{
    held_t held = staple_refresh_read_held(refresh, cert, now);

    if (!staple_refresh_is_valid(&held)) {
        return now;
    }
    if (held.meta.fetched_at > now) {
        held.meta.fetched_at = now;
    }
    return staple_rules_due(cert->policy, cert->id, &held.meta, -1);
}

/* What was crashed at again and again is left alone for a while. */
static apr_time_t plan_set_aside(task_t *task, apr_time_t now)
{
    const staple_refresh_conf_t *conf = &task->refresh->conf;
    int is_new;
    apr_time_t until = conf->set_aside(conf->baton, task->cert->slot, &is_new);

    task->is_set_aside = until > now;
    if (!task->is_set_aside) {
        return 0;
    }
    if (is_new) {
        staple_refresh_log_set_aside(conf->server, task->cert);
    }
    return until;
}

/* What this generation planned already, backing off say, holds; unless that
 * was by a clock which has been set back since. */
static apr_time_t plan(task_t *task, apr_time_t created, apr_time_t now)
{
    staple_refresh_t *refresh = task->refresh;
    const staple_cert_t *cert = task->cert;
    apr_time_t until = plan_set_aside(task, now);
    staple_cache_state_t state;

    staple_cache_state(refresh->conf.cache, cert->slot, &state);
    if (state.begun_at) {
        staple_refresh_settle_interrupted(task, &state);
    }
    if (until) {
        return until;
    }
    return state.last_attempt >= created && state.last_attempt <= now
           && state.next_due
           ? state.next_due : plan_afresh(refresh, cert, now);
}

static void make_tasks(staple_refresh_t *refresh)
{
    apr_size_t count = staple_cache_count(refresh->conf.cache);

    refresh->count = count;
    refresh->tasks = apr_pcalloc(refresh->pool, count * sizeof(task_t));
    refresh->turns = apr_palloc(refresh->pool,
                                count * sizeof(*refresh->turns));
    refresh->due = staple_due_make(count, refresh->pool);
    APR_RING_INIT(&refresh->missing, task_t, missing);
}

static void plan_all(staple_refresh_t *refresh)
{
    const apr_array_header_t *list = staple_cert_list(refresh->conf.registry);
    apr_time_t created = staple_cache_created(refresh->conf.cache);
    apr_time_t now = apr_time_now();
    int i;

    make_tasks(refresh);
    refresh->other_hash = apr_hash_make(refresh->pool);
    refresh->outages = apr_hash_make(refresh->pool);
    refresh->overdue = apr_hash_make(refresh->pool);
    refresh->files = apr_array_make(refresh->pool, 1,
                                    sizeof(response_file_t));
    refresh->wall = now;
    refresh->mono = staple_clock_now();
    for (i = 0; i < list->nelts; i++) {
        staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);
        task_t *task;

        if (cert->slot < 0) {
            continue;
        }
        task = &refresh->tasks[cert->slot];
        task->refresh = refresh;
        task->cert = cert;
        staple_refresh_set_due(task, plan(task, created, now));
        staple_refresh_set_missing(task,
                                   !staple_refresh_is_held(refresh, cert, now));
        staple_refresh_add_files(refresh, cert);
        staple_refresh_renew_since(refresh, cert, now);
    }
    refresh->has_looked = !refresh->files->nelts
                          && !refresh->directory.self.path;
}

/* Due times are moments of the wall clock, because a response's are. When the
 * clock is set, what was planned by the old one is worth nothing; what has
 * begun goes on for as long as it would have. */
static void follow_clock(task_t *task, apr_interval_time_t jump,
                         apr_time_t now)
{
    staple_refresh_shift(&task->failing_since, jump);
    staple_refresh_set_missing(task, !staple_refresh_is_held(
                                         task->refresh, task->cert, now));
    if (task->round) {
        staple_refresh_shift_round(task->round, jump);
        staple_refresh_replan(task);
    }
    else if (task->is_set_aside) {
        staple_refresh_set_due(task, task->due + jump);
    }
    else {
        staple_refresh_set_due(task,
                               plan_afresh(task->refresh, task->cert, now));
    }
}

static void check_clock(staple_refresh_t *refresh, apr_time_t now)
{
    apr_time_t mono = staple_clock_now();
    apr_interval_time_t jump = (now - refresh->wall) - (mono - refresh->mono);
    apr_size_t i;

    refresh->wall = now;
    refresh->mono = mono;
    if (jump <= CLOCK_JUMP && jump >= -CLOCK_JUMP) {
        return;
    }
    staple_refresh_log_clock(refresh->conf.server, jump);
    staple_refresh_confirm(refresh); /* what was not valid yet */
    refresh->files_due = refresh->directory.due = now;
    staple_refresh_shift_outages(refresh, jump);
    for (i = 0; i < refresh->count; i++) {
        if (refresh->tasks[i].cert) {
            follow_clock(&refresh->tasks[i], jump, now);
        }
    }
}

/* Without its last valid response clients refuse a must-staple site. */
static int may_forget(const task_t *task, apr_uint32_t what, apr_time_t now)
{
    return (what & STAPLE_CACHE_FORCE) || !task->cert->is_must_staple
           || !staple_refresh_is_held(task->refresh, task->cert, now);
}

static void handle_request(task_t *task, apr_uint32_t what, apr_time_t now)
{
    if (!task->cert) { /* the slot is an issuer's */
        return;
    }
    if ((what & STAPLE_CACHE_FORGET) && may_forget(task, what, now)) {
        staple_cache_forget(task->refresh->conf.cache, task->cert->slot);
        staple_refresh_forget_files(task->refresh); /* it may come from one */
        staple_refresh_forget_validators(task);
        staple_refresh_renew_since(task->refresh, task->cert, now);
    }
    staple_refresh_set_due(task, now);
}

/* What an administrator asks for, on the status page or by staplectl, is due
 * now. What stands there may be a child's that was taken over, so there is an
 * end to it. */
static void handle_requests(staple_refresh_t *refresh, apr_time_t now)
{
    const staple_refresh_conf_t *conf = &refresh->conf;
    int left = STAPLE_CACHE_REQUESTS_MAX;
    apr_uint32_t what;
    apr_size_t i;
    int slot;

    while (left-- > 0
           && (what = staple_cache_take_request(conf->cache, conf->hears_pages,
                                                &slot)) != 0) {
        for (i = 0; (what & STAPLE_CACHE_ALL) && i < refresh->count; i++) {
            handle_request(&refresh->tasks[i], what, now);
        }
        handle_request(&refresh->tasks[slot], what, now);
    }
}

/* The share counts in the memory of this process; everybody is to see it.
 * Since when it answers, or does not, is as it was said, unless that has
 * changed. */
static void report_share(staple_refresh_t *refresh)
{
    staple_share_state_t *told = &refresh->share_told;
    staple_cache_share_t said, more;
    staple_share_state_t state;

    staple_share_state(refresh->conf.share, &state);
    staple_cache_share(refresh->conf.cache, &said);
    if (said.since && !memcmp(&state, told, sizeof(state))) {
        return;
    }
    memset(&more, 0, sizeof(more));
    more.hits = state.hits - told->hits;
    more.misses = state.misses - told->misses;
    more.foreign = state.foreign - told->foreign;
    more.stored = state.stored - told->stored;
    more.dropped = state.dropped - told->dropped;
    more.unanswered = state.unanswered - told->unanswered;
    more.errors = state.errors - told->errors;
    more.last_error = state.last_error;
    more.last_status = state.last_status;
    more.is_silent = state.is_silent;
    more.since = said.since && said.is_silent == state.is_silent
                 ? said.since : apr_time_now();
    staple_cache_count_share(refresh->conf.cache, &more);
    *told = state;
}

/* Send off what is due, or what has waited for another server. */
static void send_off_task(task_t *task, apr_time_t now)
{
    if (task->round) {
        staple_refresh_ask_share(task->round);
    }
    else {
        task->is_set_aside = 0;
        begin_task(task, now);
    }
}

/* Of n tasks, when it is the turn of one that is due: a number from 0 to n - 1,
 * and from n to 2 n - 1 for one that is suspect. */
static apr_size_t turn_of(const staple_refresh_t *refresh, apr_size_t number)
{
    apr_size_t turn = (number + refresh->count - refresh->first)
                      % refresh->count;

    return refresh->tasks[number].is_suspect ? turn + refresh->count : turn;
}

static task_t *whose_turn(const staple_refresh_t *refresh, apr_size_t turn)
{
    return &refresh->tasks[(turn + refresh->first) % refresh->count];
}

static int by_turn(const void *a, const void *b)
{
    apr_size_t one = *(const apr_size_t *)a, other = *(const apr_size_t *)b;

    return (one > other) - (one < other);
}

/* A responder that is down is asked one thing at a time, and what that one
 * meets is told to all who wait. So those that it stumbles over come after the
 * others, and nobody is the first every time. */
static void send_off_due(staple_refresh_t *refresh, apr_time_t now)
{
    apr_size_t count = 0, number, i;

    while (staple_due_take(refresh->due, now, &number)) {
        refresh->turns[count++] = turn_of(refresh, number);
    }
    qsort(refresh->turns, count, sizeof(*refresh->turns), by_turn);
    for (i = 0; i < count; i++) {
        refresh->conf.beat(refresh->conf.baton);
        send_off_task(whose_turn(refresh, refresh->turns[i]), now);
    }
}

static void send_off(staple_refresh_t *refresh, apr_time_t now)
{
    send_off_due(refresh, now);
    staple_refresh_send_probes(refresh, now);
    refresh->first = refresh->first + 1 < refresh->count ? refresh->first + 1
                                                         : 0;
}

/* Collect what the share has to say; returns whether it owes more. */
static int collect_share(staple_refresh_t *refresh)
{
    int is_owed;

    if (!refresh->conf.share) {
        return 0;
    }
    is_owed = staple_share_run(refresh->conf.share,
                               staple_fetch_busy(refresh->fetch)
                               ? 0 : SHARE_SLICE);
    report_share(refresh);
    return is_owed;
}

/* After a cold start, say, when each certificate waited for its turn: the C
 * library would keep their memory for ever. */
static void give_back_memory(staple_refresh_t *refresh)
{
    int busy = staple_fetch_busy(refresh->fetch);

    refresh->busiest = busy > refresh->busiest ? busy : refresh->busiest;
    if (!busy && refresh->busiest >= MANY_JOBS) {
        refresh->busiest = 0;
#ifdef __GLIBC__
        malloc_trim(0);
#endif
    }
}

/* What lies there comes first, where its file system answers. */
static void look_at_files(staple_refresh_t *refresh, apr_time_t now)
{
    if ((staple_refresh_are_files_due(refresh, now)
         || staple_refresh_is_directory_due(refresh, now))
        && staple_refresh_do_files_answer(refresh)) {
        staple_refresh_look_at_files(refresh, now);
        staple_refresh_look_at_directory(refresh, now);
        refresh->has_looked = 1;
    }
}

/* One slice; returns whether there is more to wait for. */
static int step_once(staple_refresh_t *refresh, apr_interval_time_t span)
{
    apr_time_t now = apr_time_now();
    int is_owed;

    check_clock(refresh, now);
    handle_requests(refresh, now);
    look_at_files(refresh, now);
    send_off(refresh, now);
    if (refresh->has_looked) {
        refresh->conf.looked(refresh->conf.baton);
    }
    if (refresh->message) {
        staple_message_run(refresh->message);
    }
    is_owed = collect_share(refresh);
    give_back_memory(refresh);
    if (!staple_fetch_busy(refresh->fetch)) {
        return is_owed;
    }
    return staple_fetch_run(refresh->fetch, is_owed ? SHARE_SLICE : span) > 0
           || is_owed;
}

/* ----- its life ----- */

/* What takes long is part of the first step, not of staple_refresh_create:
 * there are heartbeats by then. */
static void begin_all(staple_refresh_t *refresh)
{
    refresh->is_begun = 1;
    staple_refresh_adopt_issuers(refresh);
    staple_refresh_confirm(refresh);
    plan_all(refresh);
    staple_refresh_begin_file_checks(refresh);
}

static int is_ending(const staple_refresh_t *refresh)
{
    return refresh->conf.is_ending(refresh->conf.baton);
}

void staple_refresh_step(staple_refresh_t *refresh, apr_interval_time_t span)
{
    apr_time_t end = staple_clock_now() + span;
    apr_interval_time_t left = span;

    if (!refresh->is_begun) {
        begin_all(refresh);
    }
    while (left > 0 && !is_ending(refresh)
           && step_once(refresh, left < SLICE ? left : SLICE)) {
        refresh->conf.beat(refresh->conf.baton);
        left = end - staple_clock_now();
    }
}

void staple_refresh_drop(staple_refresh_t *refresh)
{
    apr_size_t i;

    for (i = 0; i < refresh->count; i++) {
        if (refresh->tasks[i].round) {
            staple_refresh_drop_round(refresh->tasks[i].round);
        }
    }
}

void staple_refresh_end(staple_refresh_t *refresh)
{
    if (refresh->message) {
        staple_message_destroy(refresh->message);
        refresh->message = NULL;
    }
}

apr_status_t staple_refresh_create(staple_refresh_t **refreshp,
                                   const staple_refresh_conf_t *conf,
                                   apr_pool_t *p)
{
    staple_refresh_t *refresh = apr_pcalloc(p, sizeof(*refresh));
    apr_status_t rv;

    refresh->magic = REFRESH_MAGIC;
    refresh->conf = *conf;
    refresh->conf.fetch.is_ending = conf->is_ending;
    refresh->conf.fetch.ending_baton = conf->baton;
    refresh->pool = p;
    refresh->directory.self.path = conf->response_directory;
    staple_refresh_log_exchanges(refresh);
    rv = staple_fetch_create(&refresh->fetch, &refresh->conf.fetch, p);
    if (rv) {
        return rv;
    }
    refresh->buf = apr_palloc(p, STAPLE_CACHE_DER_MAX);
    apr_pool_create(&refresh->scratch, p);
    apr_pool_tag(refresh->scratch, "staple_refresh");
    if (conf->share) { /* without its thread it does not answer */
        staple_share_start(conf->share);
    }
    staple_refresh_log_open(refresh);
    *refreshp = refresh;
    return APR_SUCCESS;
}
