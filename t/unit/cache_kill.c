/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Proves that a writer may die anywhere. First at every single instruction:
 * a writer is traced step by step, and whenever it changed the segment, a copy
 * of it must be good for readers and for the next writer, exactly as if the
 * writer had been killed there. Then at a thousand random moments, with
 * SIGKILL, while readers read. And at last while the copy in the file is
 * written.
 */

#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>

#include "tap.h"
#include "cache_fixture.h"

/* ---- Step by step. ---- */

#define CERTS 4
#define CERT_LEN 700

/* What a slot may hold while the traced operation is under way. */
typedef struct expect_t {
    int none;             /* nothing at all */
    apr_uint32_t before;  /* this version */
    apr_uint32_t after;   /* or this one */
} expect_t;

typedef struct scene_t {
    const char *name;
    void (*act)(staple_cache_t *cache);
    expect_t served[CERTS];
} scene_t;

/* The ring before each scene: version 1 of all but the last, which is pending;
 * just large enough, and turned so that slot 0 is not at the tail. */
static staple_cache_t *tight_ring(apr_pool_t *p)
{
    cert_id_t *ids = make_ids(CERTS, p);
    staple_cache_conf_t conf = make_conf(NULL, 40000, 1, ids, CERTS, NULL);
    staple_cache_report_t report;
    staple_cache_t *first, *second;
    staple_cache_slot_t *slots;
    staple_cache_header_t *header;
    apr_size_t length;
    void *base;
    int slot;

    create(&first, &conf, &report, p);
    for (slot = 0; slot < CERTS; slot++) {
        store_der(first, slot, CERT_LEN, (apr_uint32_t)slot, 1);
    }
    staple_cache_mapping(first, &base, &length);
    header = base;
    slots = (staple_cache_slot_t *)((char *)base + header->slots_offset);
    atomic_store(&slots[CERTS - 1].pending,
                 atomic_load(&slots[CERTS - 1].served));
    atomic_store(&slots[CERTS - 1].served, 0);

    /* What is needed is below the least size, so hold the rest with longer
     * records until the data area is tight. */
    conf = make_conf(NULL, STAPLE_CACHE_SIZE_MIN, 1, ids, CERTS, first);
    create(&second, &conf, &report, p);
    staple_cache_unmap(first);
    for (slot = 0; slot < 3; slot++) {
        store_der(second, 1, CERT_LEN * 2, 1, 1);
        store_der(second, 2, CERT_LEN * 2, 2, 1);
    }
    store_der(second, 0, CERT_LEN, 0, 1);
    return second;
}

static void act_store(staple_cache_t *cache)
{
    store_der(cache, 0, CERT_LEN + 500, 0, 2);
}

static void act_store_longest(staple_cache_t *cache)
{
    store_der(cache, 1, CERT_LEN * 2 + 300, 1, 2);
}

static void act_store_pending(staple_cache_t *cache)
{
    store_der(cache, CERTS - 1, CERT_LEN, CERTS - 1, 2);
}

static void act_confirm(staple_cache_t *cache)
{
    staple_cache_confirm(cache, CERTS - 1, 1);
}

static void act_refuse(staple_cache_t *cache)
{
    staple_cache_confirm(cache, CERTS - 1, 0);
}

static void act_forget(staple_cache_t *cache)
{
    staple_cache_forget(cache, 2);
}

static staple_cache_state_t make_state(unsigned int version)
{
    staple_cache_state_t state;

    memset(&state, 0, sizeof(state));
    state.last_attempt = version;
    state.next_due = version;
    state.attempts = version;
    state.failing = version;
    state.detail = (apr_uint16_t)version;
    memset(state.peer, (int)version, sizeof(state.peer));
    return state;
}

static void act_state(staple_cache_t *cache)
{
    staple_cache_state_t state = make_state(2);

    staple_cache_set_state(cache, 1, &state);
}

#define SAME { 0, 1, 1 }
#define NONE { 1, 0, 0 }

static const scene_t scenes[] = {
    { "a store that moves others", act_store,
      { { 0, 1, 2 }, SAME, SAME, NONE } },
    { "a store longer than any before", act_store_longest,
      { SAME, { 0, 1, 2 }, SAME, NONE } },
    { "a store over a pending one", act_store_pending,
      { SAME, SAME, SAME, { 1, 2, 2 } } },
    { "a confirmation", act_confirm, { SAME, SAME, SAME, { 1, 1, 1 } } },
    { "a refusal", act_refuse, { SAME, SAME, SAME, NONE } },
    { "a removal", act_forget, { SAME, SAME, { 1, 1, 1 }, NONE } },
    { "a change of state", act_state, { SAME, SAME, SAME, NONE } },
};

static int is_expected(staple_cache_t *cache, int slot, const expect_t *expect)
{
    static unsigned char der[DER_BUF];
    staple_cache_meta_t meta;
    apr_uint32_t version;
    apr_size_t len;

    if (staple_cache_read(cache, slot, der, STAPLE_CACHE_DER_MAX, &len, &meta)
        != APR_SUCCESS) {
        return expect->none;
    }
    return is_genuine(der, len, (apr_uint32_t)slot, &version)
           && is_meta(&meta, version)
           && (version == expect->before || version == expect->after)
           && version != 0;
}

static int is_state_whole(staple_cache_t *cache)
{
    staple_cache_state_t state, one = make_state(1), two = make_state(2);

    staple_cache_state(cache, 1, &state);
    return !memcmp(&state, &one, sizeof(state))
           || !memcmp(&state, &two, sizeof(state));
}

/* What the next writer does must succeed, and not harm the others. */
static const char *go_on(staple_cache_t *cache, const scene_t *scene)
{
    staple_cache_state_t state = make_state(9), got;
    expect_t mine = { 0, 9, 9 };
    int turn, slot;

    for (turn = 0; turn < 6; turn++) {
        slot = turn % 3;
        if (store_der(cache, slot, CERT_LEN, (apr_uint32_t)slot, 9)
            != APR_SUCCESS) {
            return "the next writer has no room";
        }
        if (!is_expected(cache, slot, &mine)) {
            return "what the next writer stored is not there";
        }
        if (turn < 2 && !is_expected(cache, 2, &scene->served[2])) {
            return "the next writer lost a record";
        }
    }
    staple_cache_set_state(cache, 0, &state);
    staple_cache_state(cache, 0, &got);
    return memcmp(&state, &got, sizeof(got)) || !is_state_whole(cache)
           ? "the next writer's state is wrong" : NULL;
}

/* What there is if the writer is killed now; NULL: all is well. */
static const char *examine(const void *segment, apr_size_t length, void *copy,
                           const scene_t *scene, apr_pool_t *p)
{
    staple_cache_t *cache;
    int slot;

    memcpy(copy, segment, length);
    if (staple_cache_attach(&cache, copy, length, p) != APR_SUCCESS) {
        return "not a segment any more";
    }
    for (slot = 0; slot < CERTS; slot++) {
        if (!is_expected(cache, slot, &scene->served[slot])) {
            return "a reader sees what it should not";
        }
    }
    if (!is_state_whole(cache)) {
        return "a reader sees a mixed state";
    }
    return go_on(cache, scene);
}

static void act_traced(const scene_t *scene, staple_cache_t *cache)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0) {
        _exit(77);
    }
    raise(SIGSTOP);
    scene->act(cache);
    _exit(0);
}

typedef struct steps_t {
    long instructions;
    long changes;
    const char *fault;
} steps_t;

/* Let the child take step after step; look whenever memory has changed. */
static int follow(pid_t child, const scene_t *scene, staple_cache_t *cache,
                  steps_t *steps, apr_pool_t *p)
{
    apr_size_t length;
    void *base, *last, *copy;
    apr_pool_t *ptemp;
    int status;

    staple_cache_mapping(cache, &base, &length);
    last = shared_memory(length);
    copy = shared_memory(length);
    memcpy(last, base, length);
    apr_pool_create(&ptemp, p);
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        steps->instructions++;
        if (memcmp(last, base, length)) {
            steps->changes++;
            memcpy(last, base, length);
            steps->fault = examine(base, length, copy, scene, ptemp);
            apr_pool_clear(ptemp);
        }
        if (steps->fault || steps->instructions > 3000000
            || ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) < 0) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            break;
        }
    }
    apr_pool_destroy(ptemp);
    munmap(last, length);
    munmap(copy, length);
    return status;
}

static void step_through(const scene_t *scene, apr_pool_t *p)
{
    staple_cache_t *cache = tight_ring(p);
    staple_cache_state_t state = make_state(1);
    steps_t steps = { 0, 0, NULL };
    staple_cache_usage_t before, after;
    pid_t child;
    int status;

    staple_cache_set_state(cache, 1, &state);
    staple_cache_usage(cache, &before);
    child = fork();
    if (child == 0) {
        act_traced(scene, cache);
    }
    status = follow(child, scene, cache, &steps, p);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        ok(1, "%s # SKIP may not trace here", scene->name);
        staple_cache_unmap(cache);
        return;
    }
    ok(status == 0 && !steps.fault && steps.changes > 0,
       "killed at any instruction of %s", scene->name);
    if (steps.fault) {
        diag("after %ld instructions: %s", steps.instructions, steps.fault);
    }
    staple_cache_usage(cache, &after);
    diag("%ld instructions, %ld changes of the segment, %d records moved",
         steps.instructions, steps.changes, (int)(after.moved - before.moved));
    staple_cache_unmap(cache);
}

/* ---- At random. ---- */

#define KILLS 1200
#define KILL_READERS 1

typedef struct arena_t {
    torn_t torn;
    _Atomic apr_uint64_t turns; /* of the writer */
} arena_t;

static void write_until_killed(staple_cache_t *cache, arena_t *arena,
                               unsigned int life)
{
    apr_uint64_t state = life * 0x9E3779B97F4A7C15u + 5;

    /* One that was killed before it could say what it had published is
     * followed by one that publishes the same version, which is the same. */
    for (;;) {
        apr_uint32_t slot = random_below(&state, TORN_SLOTS);
        apr_uint32_t version = atomic_load(&arena->torn.stored[slot]) + 1;
        staple_cache_state_t all = make_state(version);

        if (store_der(cache, (int)slot, torn_length(slot, version), slot,
                      version) != APR_SUCCESS) {
            atomic_store(&arena->torn.failed, 1);
        }
        atomic_store(&arena->torn.stored[slot], version);
        staple_cache_set_state(cache, (int)slot, &all);
        atomic_fetch_add(&arena->turns, 1);
    }
}

/* Let the writer make some turns, then a part of one, then no more. */
static int kill_one(staple_cache_t *cache, arena_t *arena, unsigned int life,
                    apr_uint64_t *random)
{
    apr_uint64_t turns = atomic_load(&arena->turns) + random_below(random, 4);
    volatile unsigned int spin = random_below(random, 3000);
    pid_t writer = fork();
    int status;

    if (writer == 0) {
        write_until_killed(cache, arena, life);
    }
    while (atomic_load(&arena->turns) <= turns
           && waitpid(writer, &status, WNOHANG) == 0) {
        continue;
    }
    while (spin) {
        spin--;
    }
    kill(writer, SIGKILL);
    return waitpid(writer, &status, 0) == writer && WIFSIGNALED(status)
           && WTERMSIG(status) == SIGKILL;
}

static int all_whole(staple_cache_t *cache, torn_t *torn)
{
    static unsigned char der[DER_BUF];
    int slot;

    for (slot = 0; slot < TORN_SLOTS; slot++) {
        staple_cache_meta_t meta;
        staple_cache_state_t state, should;
        apr_uint32_t version;
        apr_size_t len;

        if (staple_cache_read(cache, slot, der, STAPLE_CACHE_DER_MAX, &len,
                              &meta) != APR_SUCCESS
            || !is_genuine(der, len, (apr_uint32_t)slot, &version)
            || !is_meta(&meta, version)
            || (apr_int32_t)(version - atomic_load(&torn->stored[slot])) < 0) {
            return 0;
        }
        staple_cache_state(cache, slot, &state);
        should = make_state((unsigned int)state.last_attempt);
        if (state.last_attempt && memcmp(&state, &should, sizeof(state))) {
            return 0;
        }
    }
    return 1;
}

static void kill_at_random(apr_pool_t *p)
{
    arena_t *arena = shared_memory(sizeof(*arena));
    staple_cache_t *cache = torn_ring(&arena->torn, 0, p);
    apr_uint64_t random = 88172645463325252u;
    staple_cache_usage_t usage;
    int life, killed = 0, whole = 0, status;
    pid_t reader;

    reader = fork();
    if (reader == 0) {
        torn_read(cache, &arena->torn, 0, (apr_uint64_t)1 << 60);
        _exit(0);
    }
    for (life = 1; life <= KILLS; life++) {
        killed += kill_one(cache, arena, (unsigned int)life, &random);
        whole += all_whole(cache, &arena->torn);
    }
    atomic_store(&arena->torn.stop, 1);
    waitpid(reader, &status, 0);
    is_int(killed, KILLS, "writers were killed");
    is_int(whole, KILLS, "after each, all responses and states are whole");
    is_int(atomic_load(&arena->torn.failed), 0, "every next writer had room");
    is_int((long long)(arena->torn.reader[0].missed
                       + arena->torn.reader[0].torn
                       + arena->torn.reader[0].foreign
                       + arena->torn.reader[0].stale), 0,
           "readers saw nothing of it");
    is_int(status, 0, "the reader ended well");
    staple_cache_usage(cache, &usage);
    diag("%lu reads meanwhile: %d missed, %d torn, %d foreign, %d stale",
         (unsigned long)arena->torn.reader[0].reads,
         (int)arena->torn.reader[0].missed, (int)arena->torn.reader[0].torn,
         (int)arena->torn.reader[0].foreign,
         (int)arena->torn.reader[0].stale);
    diag("%lu stores, %lu records moved",
         (unsigned long)usage.stored, (unsigned long)usage.moved);
    staple_cache_unmap(cache);
    munmap(arena, sizeof(*arena));
}

/* ---- The copy in the file. ---- */

#define COPY_KILLS 150

/* A refresher that stores and copies without a pause until it is killed. */
static void copy_until_killed(staple_cache_t *cache, arena_t *arena,
                              unsigned int life, apr_pool_t *p)
{
    apr_uint64_t state = life * 0x9E3779B97F4A7C15u + 5;

    for (;;) {
        apr_uint32_t slot = random_below(&state, TORN_SLOTS);
        apr_uint32_t version = atomic_load(&arena->torn.stored[slot]) + 1;

        store_der(cache, (int)slot, torn_length(slot, version), slot, version);
        atomic_store(&arena->torn.stored[slot], version);
        if (staple_cache_copy_round(cache, 1, p)) {
            atomic_store(&arena->torn.failed, 1);
        }
        atomic_fetch_add(&arena->turns, 1);
    }
}

/* How many slots of the file have a true response; -1: one has another. */
static int count_true(const char *path, apr_pool_t *p)
{
    static unsigned char der[DER_BUF];
    staple_cache_t *seen;
    const char *reason;
    int slot, count = 0;

    if (staple_cache_open_file(&seen, path, &reason, p) != APR_SUCCESS) {
        return -1;
    }
    for (slot = 0; slot < TORN_SLOTS; slot++) {
        staple_cache_meta_t meta;
        apr_uint32_t version;
        apr_size_t len;

        if (staple_cache_read(seen, slot, der, STAPLE_CACHE_DER_MAX, &len,
                              &meta) != APR_SUCCESS) {
            continue;
        }
        if (!is_genuine(der, len, (apr_uint32_t)slot, &version)
            || !is_meta(&meta, version)) {
            count = -1;
            break;
        }
        count++;
    }
    staple_cache_unmap(seen);
    return count;
}

static void kill_copy(staple_cache_t *cache, arena_t *arena, int life,
                      apr_pool_t *p)
{
    apr_uint64_t turns = atomic_load(&arena->turns) + (unsigned int)life % 4;
    volatile unsigned int spin = (unsigned int)life * 7919 % 60000;
    pid_t writer = fork();

    if (writer == 0) {
        copy_until_killed(cache, arena, (unsigned int)life, p);
    }
    while (atomic_load(&arena->turns) <= turns
           && !atomic_load(&arena->torn.failed)) {
        continue;
    }
    while (spin) {
        spin--;
    }
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
}

/* In a ring as tight as can be, so that records move and what the file has is
 * written over all the time. */
static void kill_while_copying(apr_pool_t *p)
{
    char path[] = "/tmp/staple-kill-XXXXXX";
    arena_t *arena = shared_memory(sizeof(*arena));
    staple_cache_t *tight = torn_ring(&arena->torn, 0, p);
    staple_cache_conf_t conf = make_conf(path, STAPLE_CACHE_SIZE_MIN, 1,
                                         make_ids(TORN_SLOTS, p), TORN_SLOTS,
                                         tight);
    staple_cache_report_t report;
    staple_cache_t *cache;
    int life, wrong = 0, missing = 0, incomplete = 0, count;
    apr_pool_t *ptemp;

    close(mkstemp(path));
    unlink(path);
    create(&cache, &conf, &report, p);
    apr_pool_create(&ptemp, p);
    for (life = 1; life <= COPY_KILLS; life++) {
        pid_t next;

        kill_copy(cache, arena, life, ptemp);
        count = count_true(path, ptemp);
        wrong += count < 0;
        missing += count >= 0 ? TORN_SLOTS - count : 0;
        next = fork(); /* as the parent would; it knows nothing of the file */
        if (next == 0) {
            _exit(staple_cache_copy_round(cache, 1, ptemp) != APR_SUCCESS);
        }
        waitpid(next, NULL, 0);
        incomplete += count_true(path, ptemp) != TORN_SLOTS;
        apr_pool_clear(ptemp);
    }
    is_int(wrong, 0, "a file that is torn has no wrong response");
    is_int(incomplete, 0, "and whoever follows completes it");
    is_int(atomic_load(&arena->torn.failed), 0, "every round was written");
    diag("%d of %d responses were torn in the file", missing,
         COPY_KILLS * TORN_SLOTS);
    unlink(path);
    staple_cache_unmap(tight);
    staple_cache_unmap(cache);
    munmap(arena, sizeof(*arena));
}

int main(void)
{
    apr_pool_t *p;
    unsigned int i;

    apr_initialize();
    apr_pool_create(&p, NULL);
    /* A writer that waits for something would hang here. */
    alarm(600);
    for (i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
        step_through(&scenes[i], p);
    }
    kill_at_random(p);
    kill_while_copying(p);
    apr_pool_destroy(p);
    apr_terminate();
    return tap_done();
}
