/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Proves that the share never makes its caller wait for a provider and never
 * passes on what makes no sense, whatever the provider does: it hits, misses,
 * fails, hangs until released, and lies.
 *
 * The provider is a fake in this program, found through stand-ins for httpd's
 * two functions of ap_provider.h.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ap_provider.h>
#include <ap_socache.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>

#include "staple_share.h"
#include "../../share/share_int.h"
#include "clocks.h"
#include "tap.h"

#define MSEC(n) apr_time_from_msec(n)
#define SEC(n) apr_time_from_sec(n)

/* For what must happen; long, for the machine may be busy. */
#define PATIENCE SEC(20)

static apr_pool_t *pool;

/* ----- the fake provider ----- */

#define ENTRIES_MAX 512
#define VALUE_MAX (STAPLE_SHARE_RECORD_MAX + 16)

typedef struct entry_t {
    unsigned char key[STAPLE_SHARE_KEY_LEN];
    unsigned char *value;
    unsigned int len;
    apr_time_t expiry;
} entry_t;

typedef enum {
    WORKS,
    FAILS,     /* every call */
    HANGS,     /* every call, until the mode changes; then it works */
    TOO_LARGE, /* refuses for size */
    OVERLONG   /* says that it wrote more than there was room for */
} mode_e;

struct ap_socache_instance_t {
    apr_thread_mutex_t *mutex;
    apr_thread_cond_t *changed;
    mode_e mode;
    int calls;       /* made so far */
    int inside;      /* being made now */
    int looks;       /* retrieves so far */
    int stores;
    int gate_looks;  /* a retrieve returns when so many have come ... */
    int gate_stores; /* ... and, if it is a later one, so many stores */
    apr_time_t last_expiry;
    int entries_count;
    entry_t entries[ENTRIES_MAX];
};

static ap_socache_instance_t fake;
static const char *created_with;
static const char *namespace_given;

static const char *fake_create(ap_socache_instance_t **instance,
                               const char *arg, apr_pool_t *tmp,
                               apr_pool_t *p)
{
    (void)tmp;
    (void)p;
    created_with = arg;
    *instance = &fake;
    return arg && !strcmp(arg, "wrong") ? "that is wrong" : NULL;
}

static apr_status_t fake_init(ap_socache_instance_t *instance,
                              const char *cname,
                              const struct ap_socache_hints *hints,
                              server_rec *s, apr_pool_t *p)
{
    (void)instance;
    (void)s;
    (void)p;
    namespace_given = cname;
    return hints ? APR_SUCCESS : APR_EINVAL;
}

/* Returns with the mutex held. */
static apr_status_t enter(ap_socache_instance_t *f)
{
    apr_thread_mutex_lock(f->mutex);
    f->calls++;
    f->inside++;
    apr_thread_cond_broadcast(f->changed);
    while (f->mode == HANGS) {
        apr_thread_cond_wait(f->changed, f->mutex);
    }
    if (f->mode == FAILS) {
        return APR_ECONNREFUSED;
    }
    return f->mode == TOO_LARGE ? APR_ENOSPC : APR_SUCCESS;
}

static void leave(ap_socache_instance_t *f)
{
    f->inside--;
    apr_thread_cond_broadcast(f->changed);
    apr_thread_mutex_unlock(f->mutex);
}

static entry_t *find(ap_socache_instance_t *f, const unsigned char *key)
{
    int i;

    for (i = 0; i < f->entries_count; i++) {
        if (!memcmp(f->entries[i].key, key, STAPLE_SHARE_KEY_LEN)) {
            return &f->entries[i];
        }
    }
    return NULL;
}

static void set(ap_socache_instance_t *f, const unsigned char *key,
                const unsigned char *value, unsigned int len)
{
    entry_t *entry = find(f, key);

    if (!entry) {
        entry = &f->entries[f->entries_count++ % ENTRIES_MAX];
        memcpy(entry->key, key, STAPLE_SHARE_KEY_LEN);
    }
    free(entry->value);
    entry->value = malloc(len ? len : 1);
    memcpy(entry->value, value, len);
    entry->len = len;
}

static apr_status_t fake_store(ap_socache_instance_t *f, server_rec *s,
                               const unsigned char *id, unsigned int idlen,
                               apr_time_t expiry, unsigned char *data,
                               unsigned int datalen, apr_pool_t *p)
{
    apr_status_t rv = enter(f);

    (void)s;
    apr_palloc(p, 100);
    if (!rv && idlen != STAPLE_SHARE_KEY_LEN) {
        rv = APR_EINVAL;
    }
    if (!rv) {
        set(f, id, data, datalen);
        f->last_expiry = expiry;
        f->stores++;
    }
    leave(f);
    return rv;
}

static apr_status_t fake_retrieve(ap_socache_instance_t *f, server_rec *s,
                                  const unsigned char *id, unsigned int idlen,
                                  unsigned char *data, unsigned int *datalen,
                                  apr_pool_t *p)
{
    apr_status_t rv = enter(f);
    const entry_t *entry;
    int look = ++f->looks;

    (void)s;
    apr_palloc(p, 100);
    apr_thread_cond_broadcast(f->changed);
    entry = rv || idlen != STAPLE_SHARE_KEY_LEN ? NULL : find(f, id);
    while (f->looks < f->gate_looks
           || (look > f->gate_looks && f->stores < f->gate_stores)) {
        apr_thread_cond_wait(f->changed, f->mutex);
    }
    if (look > f->gate_looks) {
        entry = rv ? NULL : find(f, id);
    }
    if (!rv && f->mode == OVERLONG) {
        *datalen += 1;
    }
    else if (!rv && !entry) {
        rv = APR_NOTFOUND;
    }
    else if (!rv && entry->len > *datalen) {
        rv = APR_ENOMEM;
    }
    else if (!rv) {
        memcpy(data, entry->value, entry->len);
        *datalen = entry->len;
    }
    leave(f);
    return rv;
}

static ap_socache_provider_t provider = {
    "fake", 0, fake_create, fake_init, NULL, fake_store, fake_retrieve,
    NULL, NULL, NULL
};

static void set_mode(mode_e mode)
{
    apr_thread_mutex_lock(fake.mutex);
    fake.mode = mode;
    apr_thread_cond_broadcast(fake.changed);
    apr_thread_mutex_unlock(fake.mutex);
}

static int calls_made(void)
{
    int n;

    apr_thread_mutex_lock(fake.mutex);
    n = fake.calls;
    apr_thread_mutex_unlock(fake.mutex);
    return n;
}

/* Wait until a call is inside the provider; whether one is. */
static int await_inside(int wanted)
{
    apr_time_t end = apr_time_now() + PATIENCE;
    int is_so;

    apr_thread_mutex_lock(fake.mutex);
    while (!!fake.inside != wanted && apr_time_now() < end) {
        apr_thread_cond_timedwait(fake.changed, fake.mutex, MSEC(50));
    }
    is_so = !!fake.inside == wanted;
    apr_thread_mutex_unlock(fake.mutex);
    return is_so;
}

static void reset(void)
{
    apr_thread_mutex_lock(fake.mutex);
    while (fake.entries_count) {
        free(fake.entries[--fake.entries_count].value);
        fake.entries[fake.entries_count].value = NULL;
    }
    fake.mode = WORKS;
    fake.looks = fake.stores = fake.gate_looks = fake.gate_stores = 0;
    apr_thread_mutex_unlock(fake.mutex);
}

/* ----- stand-ins for httpd ----- */

AP_DECLARE(void *) ap_lookup_provider(const char *group, const char *name,
                                      const char *version)
{
    return !strcmp(group, AP_SOCACHE_PROVIDER_GROUP)
           && !strcmp(version, AP_SOCACHE_PROVIDER_VERSION)
           && !strcmp(name, "fake") ? &provider : NULL;
}

AP_DECLARE(apr_array_header_t *) ap_list_provider_names(apr_pool_t *p,
                                                        const char *group,
                                                        const char *version)
{
    apr_array_header_t *names
        = apr_array_make(p, 2, sizeof(ap_list_provider_names_t));

    (void)group;
    (void)version;
    APR_ARRAY_PUSH(names, const char *) = "fake";
    APR_ARRAY_PUSH(names, const char *) = "shmcb";
    return names;
}

/* ----- a caller ----- */

typedef struct heard_t {
    int times;
    staple_share_outcome_e outcome;
    apr_size_t len;
    apr_time_t fetched_at;
    unsigned char first, last;
} heard_t;

static void hear(void *baton, const staple_share_answer_t *answer)
{
    heard_t *heard = baton;

    heard->times++;
    heard->outcome = answer->outcome;
    heard->len = answer->der_len;
    heard->fetched_at = answer->fetched_at;
    if (answer->der) {
        heard->first = answer->der[0];
        heard->last = answer->der[answer->der_len - 1];
    }
}

static const unsigned char *id_of(int n)
{
    static unsigned char id[STAPLE_ID_LEN];

    memset(id, n & 0xff, sizeof(id));
    id[0] = (unsigned char)(n >> 8);
    return id;
}

static staple_share_t *make(void)
{
    staple_share_t *share = NULL;
    const char *error = staple_share_create(&share, "fake:here", pool, pool);

    if (error || staple_share_init(share, NULL, pool)
        || staple_share_start(share)) {
        diag("cannot start: %s", error ? error : "");
        exit(1);
    }
    return share;
}

/* Run until nothing is owed. */
static void settle(staple_share_t *share)
{
    apr_time_t end = apr_time_now() + PATIENCE;

    while (staple_share_run(share, MSEC(200)) && apr_time_now() < end) {
        continue;
    }
}

static heard_t get(staple_share_t *share, int n)
{
    heard_t heard = { 0 };

    staple_share_get(share, id_of(n), PATIENCE, hear, &heard);
    settle(share);
    return heard;
}

static heard_t claim(staple_share_t *share, int n)
{
    heard_t heard = { 0 };

    staple_share_claim(share, id_of(n), SEC(10), PATIENCE, hear, &heard);
    settle(share);
    return heard;
}

static void put(staple_share_t *share, int n, apr_size_t len)
{
    unsigned char *der = malloc(len);

    memset(der, 'd', len);
    der[len - 1] = 'e';
    staple_share_put(share, id_of(n), der, len, SEC(1000),
                     apr_time_now() + SEC(3600));
    free(der);
}

/* Requests are served in order, so a get behind it says that a put is done. */
static void put_and_wait(staple_share_t *share, int n, apr_size_t len)
{
    put(share, n, len);
    get(share, 0xffff);
}

static void poison(int n, char kind, const void *value, unsigned int len)
{
    unsigned char key[STAPLE_SHARE_KEY_LEN];

    memcpy(key, id_of(n), STAPLE_ID_LEN);
    memcpy(key + STAPLE_ID_LEN, "staple1", 7);
    key[STAPLE_SHARE_KEY_LEN - 1] = (unsigned char)kind;
    apr_thread_mutex_lock(fake.mutex);
    set(&fake, key, value, len);
    apr_thread_mutex_unlock(fake.mutex);
}

static staple_share_state_t state_of(staple_share_t *share)
{
    staple_share_state_t state;

    staple_share_state(share, &state);
    return state;
}

/* ----- the tests ----- */

/* Bytes in memory of exactly their size, so that an overread crashes. */
static int unpacks(const unsigned char *bytes, apr_size_t len)
{
    unsigned char *copy = malloc(len ? len : 1);
    staple_share_answer_t answer;
    int is_record;

    memcpy(copy, bytes, len);
    is_record = staple_share_unpack(&answer, copy, len);
    free(copy);
    return is_record;
}

static void test_record(void)
{
    static unsigned char der[STAPLE_SHARE_DER_MAX + 1] = "0der";
    static unsigned char buf[VALUE_MAX];
    static const struct {
        apr_size_t len;
        apr_time_t fetched_at;
        apr_size_t packed;
        const char *what;
    } cases[] = {
        { 1, 1, 21, "one byte" },
        { 4, SEC(1800000000), 24, "a few" },
        { STAPLE_SHARE_DER_MAX, APR_INT64_MAX, STAPLE_SHARE_RECORD_MAX,
          "the longest, at the end of time" },
        { 0, 1, 0, "nothing is refused" },
        { STAPLE_SHARE_DER_MAX + 1, 1, 0, "too much is refused" },
        { 4, 0, 0, "no time is refused" },
        { 4, -1, 0, "a time before 1970 is refused" }
    };
    staple_share_answer_t answer;
    apr_size_t i, n, refused = 0;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        n = staple_share_pack(buf, der, cases[i].len, cases[i].fetched_at);
        ok(n == cases[i].packed
           && (!n || (staple_share_unpack(&answer, buf, n)
                      && answer.outcome == STAPLE_SHARE_FOUND
                      && answer.fetched_at == cases[i].fetched_at
                      && answer.der_len == cases[i].len
                      && !memcmp(answer.der, der, answer.der_len))),
           "record: %s", cases[i].what);
    }
    n = staple_share_pack(buf, der, 4, SEC(1800000000));
    for (i = 0; i < n; i++) {
        refused += !unpacks(buf, i);
    }
    is_int((long long)refused, (long long)n, "record: every cut is refused");
    ok(!unpacks(buf, n + 1), "record: a byte too many is refused");
    for (i = 0, refused = 0; i < 12; i++) {
        buf[i] ^= 0x40;
        refused += !unpacks(buf, n);
        buf[i] ^= 0x40;
    }
    is_int((long long)refused, 12, "record: a bit wrong in magic, version, "
           "padding or length is refused");
    buf[12] |= 0x80;
    ok(!unpacks(buf, n), "record: a negative time is refused");
    memset(buf + 12, 0, 8);
    ok(!unpacks(buf, n), "record: the time 0 is refused");
}

static void test_create(void)
{
    staple_share_t *share = NULL;
    const char *error = staple_share_create(&share, "nosuch:a:b", pool, pool);

    ok(error && strstr(error, "'nosuch'") && strstr(error, "fake,shmcb")
       && strstr(error, "mod_socache_nosuch"), "create: %s", error);
    error = staple_share_create(&share, "fake:wrong", pool, pool);
    ok(error && strstr(error, "'fake'") && strstr(error, "that is wrong")
       && !share, "create: %s", error);
    error = staple_share_create(&share, "fake", pool, pool);
    ok(!error && !created_with, "create: a provider without an argument");
    error = staple_share_create(&share, "fake:[::1]:6379,b", pool, pool);
    is_str(created_with, "[::1]:6379,b", "create: all after the first colon");
    is_str(staple_share_name(share), "fake", "create: its name");
    is_int(staple_share_init(share, NULL, pool), APR_SUCCESS, "init");
    ok(strlen(namespace_given) <= 14, "init: short enough for redis");
    ok(staple_share_get(share, id_of(1), SEC(1), hear, NULL) == APR_EINVAL
       && staple_share_claim(share, id_of(1), SEC(1), SEC(1), hear, NULL)
          == APR_EINVAL && !staple_share_run(share, SEC(1)),
       "not started: nothing is accepted, nothing is waited for");
    staple_share_put(share, id_of(1), id_of(1), 4, 1, SEC(1));
    ok(1, "not started: put does no harm");
}

static void test_get_put(void)
{
    staple_share_t *share = make();
    staple_share_state_t state;
    heard_t heard = get(share, 1);

    ok(heard.times == 1 && heard.outcome == STAPLE_SHARE_MISSING, "a miss");
    put_and_wait(share, 1, 2000);
    heard = get(share, 1);
    ok(heard.times == 1 && heard.outcome == STAPLE_SHARE_FOUND
       && heard.len == 2000 && heard.first == 'd' && heard.last == 'e'
       && heard.fetched_at == SEC(1000), "a hit, as it was put");
    put_and_wait(share, 1, STAPLE_SHARE_DER_MAX);
    heard = get(share, 1);
    ok(heard.outcome == STAPLE_SHARE_FOUND
       && heard.len == STAPLE_SHARE_DER_MAX, "the longest, over the older");
    put(share, 2, STAPLE_SHARE_DER_MAX + 1);
    staple_share_put(share, id_of(2), id_of(2), 0, SEC(1), apr_time_now() * 2);
    staple_share_put(share, id_of(2), id_of(2), 9, SEC(1),
                     apr_time_now() + MSEC(900));
    heard = get(share, 2);
    is_int(heard.outcome, STAPLE_SHARE_MISSING,
           "too long, empty and nearly over: not stored");
    staple_share_put(share, id_of(2), id_of(2), 9, SEC(1), APR_INT64_MAX);
    heard = get(share, 2);
    ok(heard.outcome == STAPLE_SHARE_FOUND
       && fake.last_expiry < apr_time_now() + SEC(30 * 86400),
       "an expiry that memcached would misread is cut");
    state = state_of(share);
    ok(state.hits == 3 && state.stored == 3 && state.dropped == 2
       && state.misses == 4 && !state.errors && !state.is_slow,
       "the counters agree");
    reset();
}

static void test_lies(void)
{
    static const unsigned char huge[VALUE_MAX];
    static const unsigned char forgery[24] = "STPC1";
    staple_share_t *share = make();
    heard_t heard;

    poison(1, 'r', "", 0);
    heard = get(share, 1);
    is_int(heard.outcome, STAPLE_SHARE_MISSING, "lies: empty");
    poison(1, 'r', "STPR1 and something else altogether", 35);
    heard = get(share, 1);
    is_int(heard.outcome, STAPLE_SHARE_MISSING, "lies: foreign");
    poison(1, 'r', huge, sizeof(huge));
    heard = get(share, 1);
    is_int(heard.outcome, STAPLE_SHARE_MISSING, "lies: too large");
    set_mode(OVERLONG);
    heard = get(share, 1);
    is_int(heard.outcome, STAPLE_SHARE_MISSING, "lies: longer than the buffer");
    set_mode(WORKS);
    poison(1, 'c', "rubbish", 7);
    heard = claim(share, 1);
    is_int(heard.outcome, STAPLE_SHARE_MINE, "lies: no claim is no claim");
    poison(2, 'c', huge, sizeof(huge));
    heard = claim(share, 2);
    is_int(heard.outcome, STAPLE_SHARE_MINE, "lies: a huge one neither");
    poison(3, 'c', forgery, sizeof(forgery));
    heard = claim(share, 3);
    is_int(heard.outcome, STAPLE_SHARE_TAKEN, "lies: a forged claim counts");
    ok(state_of(share).foreign == 4 && !state_of(share).errors
       && !state_of(share).is_slow,
       "lies: counted as foreign, not as the provider's failure");
    set_mode(TOO_LARGE);
    put_and_wait(share, 4, 5000);
    put_and_wait(share, 4, 5000);
    ok(!state_of(share).errors, "lies: refused for size is no failure");
    reset();
}

static void test_claims(void)
{
    staple_share_t *a = make();
    staple_share_t *b = make();
    heard_t first = { 0 }, second = { 0 };
    apr_time_t before = apr_time_now();
    heard_t heard = claim(a, 1);

    is_int(heard.outcome, STAPLE_SHARE_MINE, "claim: nobody has it");
    ok(fake.last_expiry > before + SEC(7)
       && fake.last_expiry < apr_time_now() + SEC(11),
       "claim: for as long as asked");
    heard = claim(b, 1);
    ok(heard.times == 1 && heard.outcome == STAPLE_SHARE_TAKEN,
       "claim: another server has it");
    heard = claim(a, 1);
    is_int(heard.outcome, STAPLE_SHARE_MINE, "claim: still ours");
    heard = get(a, 1);
    is_int(heard.outcome, STAPLE_SHARE_MISSING, "claim: is no response");
    reset();

    /* Both look before either writes, and both write before either looks
     * again: the worst case that settling is there for. */
    fake.gate_looks = fake.gate_stores = 2;
    staple_share_claim(a, id_of(2), SEC(10), PATIENCE, hear, &first);
    staple_share_claim(b, id_of(2), SEC(10), PATIENCE, hear, &second);
    settle(a);
    settle(b);
    ok(first.times == 1 && second.times == 1
       && (first.outcome == STAPLE_SHARE_MINE)
          != (second.outcome == STAPLE_SHARE_MINE)
       && (first.outcome == STAPLE_SHARE_TAKEN)
          != (second.outcome == STAPLE_SHARE_TAKEN),
       "claim: one of two at the same moment");
    is_int(fake.stores, 2, "claim: both had written");
    reset();
}

static void test_failures(void)
{
    staple_share_t *share = make();
    apr_time_t end = apr_time_now() + PATIENCE;
    staple_share_state_t state;
    heard_t heard, more[3] = { { 0 } };
    int i, calls;

    put_and_wait(share, 1, 100);
    set_mode(FAILS);
    heard = get(share, 1);
    ok(heard.times == 1 && heard.outcome == STAPLE_SHARE_NO_ANSWER
       && !state_of(share).is_slow && !state_of(share).is_silent,
       "fails: once is not slow");
    claim(share, 1);
    put(share, 2, 100);
    for (i = 0; i < 3; i++) {
        staple_share_get(share, id_of(1), PATIENCE, hear, &more[i]);
    }
    settle(share);
    state = state_of(share);
    ok(state.is_slow && state.is_silent && state.errors >= 3
       && state.last_error
       && state.last_status == APR_ECONNREFUSED,
       "fails: several in a row are");
    ok(more[0].times == 1 && more[1].times == 1 && more[2].times == 1
       && more[2].outcome == STAPLE_SHARE_NO_ANSWER,
       "fails: what was queued is answered");
    calls = calls_made();
    heard = get(share, 1);
    claim(share, 1);
    put(share, 3, 100);
    ok(heard.outcome == STAPLE_SHARE_NO_ANSWER && calls_made() == calls,
       "fails: the provider is left alone");
    while (state_of(share).is_slow && apr_time_now() < end) {
        apr_sleep(MSEC(5));
    }
    ok(state_of(share).is_silent, "fails: a pause that ends proves nothing");
    set_mode(WORKS);
    while (heard.outcome != STAPLE_SHARE_FOUND && apr_time_now() < end) {
        heard = get(share, 1);
        apr_sleep(MSEC(20));
    }
    ok(heard.outcome == STAPLE_SHARE_FOUND && !state_of(share).is_slow
       && !state_of(share).is_silent,
       "fails: and it is tried again after a pause");
    reset();
}

static void test_hang(void)
{
    staple_share_t *share = make();
    apr_time_t end = apr_time_now() + PATIENCE;
    heard_t first = { 0 }, second = { 0 }, heard = { 0 };
    int i;

    put_and_wait(share, 1, 100);
    set_mode(HANGS);
    staple_share_get(share, id_of(1), MSEC(30), hear, &first);
    await_inside(1);
    staple_share_claim(share, id_of(1), SEC(5), PATIENCE, hear, &second);
    while (!first.times && apr_time_now() < end) {
        staple_share_run(share, MSEC(200));
    }
    ok(first.times == 1 && first.outcome == STAPLE_SHARE_NO_ANSWER
       && !second.times && !state_of(share).is_slow,
       "hangs: a get ends with its patience, under the call");
    for (i = 0; i < 140; i++) {
        put(share, i, STAPLE_SHARE_DER_MAX);
    }
    ok(state_of(share).dropped > 0 && state_of(share).dropped < 20,
       "hangs: what is queued is bounded");
    while (!state_of(share).is_slow && apr_time_now() < end) {
        staple_share_run(share, MSEC(200));
    }
    ok(state_of(share).is_silent && state_of(share).last_error
       && state_of(share).last_status == APR_TIMEUP,
       "hangs: after a second it is known to be silent, and why");
    settle(share);
    ok(second.times == 1 && second.outcome == STAPLE_SHARE_NO_ANSWER
       && state_of(share).dropped == 140,
       "hangs: after a second all that waited is answered or dropped");
    staple_share_get(share, id_of(1), PATIENCE, hear, &heard);
    staple_share_run(share, 0);
    ok(heard.times == 1 && heard.outcome == STAPLE_SHARE_NO_ANSWER,
       "hangs: a new get is answered at once");
    set_mode(WORKS);
    while (heard.outcome != STAPLE_SHARE_FOUND && apr_time_now() < end) {
        heard = get(share, 1);
    }
    ok(heard.outcome == STAPLE_SHARE_FOUND && state_of(share).errors == 1
       && state_of(share).last_status == APR_TIMEUP,
       "hangs: used again when the call returns, which counts as an error");
    ok(first.times == 1 && second.times == 1, "hangs: nobody is told twice");
    reset();
}

/* The clock is set back by two hours: nobody waits until it is that late
 * again. The alarm ends a test that does. */
static void test_clock_set_back(void)
{
    staple_share_t *share = make();
    heard_t first = { 0 }, heard = { 0 };
    apr_time_t end;

    if (!CAN_MOVE_CLOCKS) {
        ok(1, "a clock that is set back # SKIP it cannot be set");
        return;
    }
    set_mode(HANGS);
    staple_share_get(share, id_of(1), PATIENCE, hear, &first);
    await_inside(1);
    wall_clock_ahead = SEC(7200);
    alarm(300);
    staple_share_run(share, MSEC(50));
    ok(1, "set back: who waits for an answer looks up when its span is over");
    set_mode(WORKS);
    settle(share);
    end = apr_time_now() + PATIENCE;
    do {
        heard = claim(share, 2);
    } while (heard.outcome == STAPLE_SHARE_NO_ANSWER && apr_time_now() < end);
    is_int(heard.outcome, STAPLE_SHARE_MINE,
       "set back: a claim is looked at again in time");
    alarm(0);
    wall_clock_ahead = 0;
    reset();
}

/* Everything at once, for the sanitizers: each request is answered once. */
static void test_storm(void)
{
    enum { ROUNDS = 12, PER_ROUND = 60 };
    static heard_t heard[ROUNDS][PER_ROUND];
    static const mode_e modes[] = { WORKS, HANGS, WORKS, FAILS, WORKS };
    staple_share_t *share = make();
    int round, i, wrong = 0;

    for (round = 0; round < ROUNDS; round++) {
        set_mode(modes[round % 5]);
        for (i = 0; i < PER_ROUND; i++) {
            apr_interval_time_t patience = i % 7 ? PATIENCE : MSEC(i);

            put(share, i, 1 + (apr_size_t)i * 100);
            if (i % 3) {
                staple_share_get(share, id_of(i), patience, hear,
                                 &heard[round][i]);
            }
            else {
                staple_share_claim(share, id_of(i), SEC(5), patience, hear,
                                   &heard[round][i]);
            }
            if (i % 10 == 0) {
                staple_share_run(share, MSEC(1));
            }
        }
    }
    set_mode(WORKS);
    settle(share);
    for (round = 0; round < ROUNDS; round++) {
        for (i = 0; i < PER_ROUND; i++) {
            wrong += heard[round][i].times != 1;
        }
    }
    is_int(wrong, 0, "storm: every request is answered exactly once");
    reset();
}

/* LeakSanitizer asks for this. The thread of a share goes on until its process
 * ends, and so does what it uses; the tests start one after the other. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:staple_share_launch\n";
}

int main(void)
{
    apr_initialize();
    apr_pool_create(&pool, NULL);
    apr_thread_mutex_create(&fake.mutex, APR_THREAD_MUTEX_DEFAULT, pool);
    apr_thread_cond_create(&fake.changed, pool);
    test_record();
    test_create();
    test_get_put();
    test_lies();
    test_claims();
    test_failures();
    test_hang();
    test_clock_set_back();
    test_storm();
    apr_pool_destroy(pool);
    apr_terminate();
    return tap_done();
}
