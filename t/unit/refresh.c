/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The rules of the refresh, as tables: when a response is due, how long a
 * failure waits, what replaces what, and what may be served at which moment.
 * And what is kept of an exchange, and said of it.
 *
 * With the argument `tables` it prints those of docs/schedule.md instead.
 */

#include <apr_general.h>

#include "staple_rules.h"
#include "staple_words.h"
#include "tap.h"

#define S(n) ((apr_time_t)(n) * 1000000)
#define HOUR 3600
#define DAY 86400

/* A moment to count from; any will do. */
#define T0 S(1700000000)

static staple_cert_policy_t default_policy(void)
{
    staple_cert_policy_t policy;

    memset(&policy, 0, sizeof(policy));
    policy.times.skew = S(300);
    policy.times.max_age = -1;
    policy.times.default_age = S(12 * HOUR);
    policy.timeout = S(10);
    policy.refresh_age = -1;
    policy.retry_cap = S(600);
    return policy;
}

static void fill_id(unsigned char id[STAPLE_ID_LEN], int n)
{
    int i;

    for (i = 0; i < STAPLE_ID_LEN; i++) {
        id[i] = (unsigned char)((unsigned)n >> 8 * (i % 2));
    }
}

static apr_time_t due_of_status(const staple_cert_policy_t *policy,
                                const unsigned char *id,
                                staple_ocsp_status_e status)
{
    staple_cache_meta_t meta;

    memset(&meta, 0, sizeof(meta));
    meta.this_update = meta.fetched_at = T0;
    meta.next_update = T0 + S(4 * DAY);
    meta.status = (apr_uint32_t)status;
    return staple_rules_due(policy, id, &meta, -1);
}

/* Of one that says good, with thisUpdate T0. */
static apr_time_t due_of(const staple_cert_policy_t *policy,
                         const unsigned char *id, apr_time_t fetched_at,
                         apr_time_t next_update, apr_interval_time_t fresh_for)
{
    staple_cache_meta_t meta;

    memset(&meta, 0, sizeof(meta));
    meta.this_update = T0;
    meta.next_update = next_update;
    meta.fetched_at = fetched_at;
    meta.status = STAPLE_OCSP_GOOD;
    return staple_rules_due(policy, id, &meta, fresh_for);
}

/* Seconds after T0 (thisUpdate) throughout; spans in seconds, -1: none. */
static const struct due_case_t {
    const char *name;
    long next;        /* nextUpdate; 0: none */
    long fetched;
    long refresh_age; /* SSLStaplingStandardCacheTimeout */
    long max_age;     /* SSLStaplingResponseMaxAge */
    long fresh_for;   /* Cache-Control */
    long earliest, latest; /* where the due time must lie */
} due_cases[] = {
    { "10 minutes: the middle, +-1 minute", 600, 0, -1, -1, -1, 240, 360 },
    { "1 hour: the middle, +-6 minutes", HOUR, 0, -1, -1, -1, 1440, 2160 },
    { "4 days: the middle, +-9.6 hours", 4 * DAY, 0, -1, -1, -1,
      2 * DAY - 34560, 2 * DAY + 34560 },
    { "7 days: the middle, +-16.8 hours", 7 * DAY, 0, -1, -1, -1,
      302400 - 60480, 302400 + 60480 },
    { "a cache timeout comes sooner", 4 * DAY, 0, HOUR, -1, -1, HOUR, HOUR },
    { "a cache timeout of a second", 4 * DAY, 100, 1, -1, -1, 101, 101 },
    { "a cache timeout of 0 is a second", 4 * DAY, 100, 0, -1, -1, 101, 101 },
    { "a max-age of 0 is no flood", 4 * DAY, 100, -1, -1, 0,
      100 + 3456, 2 * DAY + 34560 },
    { "max-age comes sooner", 4 * DAY, 0, -1, -1, HOUR, HOUR, HOUR },
    { "max-age comes later than the middle", 4 * DAY, 0, -1, -1, 4 * DAY,
      2 * DAY - 34560, 2 * DAY + 34560 },
    { "ResponseMaxAge shortens the validity", 4 * DAY, 0, -1, HOUR, -1,
      1440, 2160 },
    { "fetched late: half of what is left", 4 * DAY, 3 * DAY, -1, -1, -1,
      3 * DAY + DAY / 2, 3 * DAY + DAY / 2 },
    { "fetched very late: half of what is left", 4 * DAY, 4 * DAY - HOUR * 4,
      -1, -1, -1, 4 * DAY - HOUR * 2, 4 * DAY - HOUR * 2 },
    { "fetched at the end: never at once", 600, 599, -1, -1, -1, 600, 600 },
    { "signed ahead, obtained at 5 %: no sooner than that after the middle",
      4 * DAY, 17280, -1, -1, -1, 2 * DAY + 17280, 2 * DAY + 34560 },
    { "signed ahead, obtained at 11 %: at 61 %, or as late as can be",
      4 * DAY, 38016, -1, -1, -1, 2 * DAY + 36288, 2 * DAY + 43200 },
    { "signed ahead, obtained at 30 %: at 60.5 % to 62.5 %", 4 * DAY, 103680,
      -1, -1, -1, 2 * DAY + 36288, 2 * DAY + 43200 },
    { "the same again, a little after the middle: at 62.5 %", 4 * DAY,
      2 * DAY + 43000, -1, -1, -1, 2 * DAY + 43200, 2 * DAY + 46460 },
    { "the same again at 62.5 %: half of what is left", 4 * DAY,
      2 * DAY + 43200, -1, -1, -1, 280800, 280800 },
    { "the same again in the eighth tenth: not in the last", 4 * DAY,
      293760, -1, -1, -1, 311040, 311040 },
    { "signed ahead, 10 minutes", 600, 100, -1, -1, -1, 362, 375 },
    { "a year of validity: as if it were ten days", 366 * DAY, 0, -1, -1, -1,
      4 * DAY, 6 * DAY },
    { "60 days, the same again after 6 days: an hour", 60 * DAY, 6 * DAY, -1,
      -1, -1, 6 * DAY + HOUR, 8 * DAY },
    { "60 days, the same again at 20 days: a day", 60 * DAY, 20 * DAY, -1, -1,
      -1, 21 * DAY, 21 * DAY },
    { "60 days, the same again at 59.5 days: half of what is left", 60 * DAY,
      60 * DAY - 12 * HOUR, -1, -1, -1, 60 * DAY - 6 * HOUR,
      60 * DAY - 6 * HOUR },
    { "without nextUpdate: hourly", 0, 0, -1, -1, -1, HOUR, HOUR },
    { "5 seconds: the middle", 5, 0, -1, -1, -1, 2, 3 },
    { "a second: every second", 1, 0, -1, -1, -1, 1, 1 },
    { "no validity at all: every second", -5, 0, -1, -1, -1, 1, 1 },
};

static void test_due(void)
{
    apr_size_t i;

    for (i = 0; i < sizeof(due_cases) / sizeof(*due_cases); i++) {
        const struct due_case_t *c = &due_cases[i];
        staple_cert_policy_t policy = default_policy();
        int n, inside = 1;

        policy.refresh_age = c->refresh_age < 0 ? -1 : S(c->refresh_age);
        policy.times.max_age = c->max_age < 0 ? -1 : S(c->max_age);
        for (n = 0; n < 200; n++) {
            unsigned char id[STAPLE_ID_LEN];
            apr_time_t due;

            fill_id(id, n);
            due = due_of(&policy, id, T0 + S(c->fetched),
                         c->next ? T0 + S(c->next) : 0,
                         c->fresh_for < 0 ? -1 : S(c->fresh_for));
            if (due < T0 + S(c->earliest) || due > T0 + S(c->latest)) {
                diag("due %f s after thisUpdate", (double)(due - T0) / 1e6);
                inside = 0;
                break;
            }
        }
        ok(inside, "due: %s", c->name);
    }
}

/* A CA that signs ahead has its certificates asked for at different moments
 * too, though it gives out all new responses at once. */
static void test_spread_ahead(void)
{
    staple_cert_policy_t policy = default_policy();
    unsigned char id[STAPLE_ID_LEN];
    apr_time_t first = 0, last = 0, due;
    int n;

    for (n = 0; n < 1000; n++) {
        fill_id(id, n);
        due = due_of(&policy, id, T0 + S(DAY), T0 + S(4 * DAY), -1);
        first = !n || due < first ? due : first;
        last = due > last ? due : last;
    }
    ok(last - first > S(HOUR), "signed ahead: due times spread over more than "
       "an hour (%.2f)", (double)apr_time_sec(last - first) / HOUR);
}

static void test_spread(void)
{
    staple_cert_policy_t policy = default_policy();
    unsigned char id[STAPLE_ID_LEN];
    apr_time_t first = 0, last = 0, due;
    int n;

    for (n = 0; n < 1000; n++) {
        fill_id(id, n);
        due = due_of(&policy, id, T0, T0 + S(4 * DAY), -1);
        first = !n || due < first ? due : first;
        last = due > last ? due : last;
    }
    ok(last - first > S(15 * HOUR), "due times of many certificates spread "
       "over more than 15 of the 19.2 hours that there are");
    ok(due == due_of(&policy, id, T0, T0 + S(4 * DAY), -1),
       "the same certificate is due at the same moment");
}

/* StapleRevokedRecheck. */
static void test_due_revoked(void)
{
    staple_cert_policy_t policy = default_policy();
    unsigned char id[STAPLE_ID_LEN];
    apr_time_t usual;

    fill_id(id, 1);
    usual = due_of_status(&policy, id, STAPLE_OCSP_GOOD);
    ok(due_of_status(&policy, id, STAPLE_OCSP_REVOKED) == usual,
       "revoked, without a recheck: due as any other");
    policy.revoked_recheck = S(HOUR);
    ok(due_of_status(&policy, id, STAPLE_OCSP_REVOKED) == T0 + S(HOUR),
       "revoked, to be rechecked: due after an hour");
    ok(due_of_status(&policy, id, STAPLE_OCSP_GOOD) == usual,
       "good: due as ever");
    policy.revoked_recheck = S(400 * DAY);
    ok(due_of_status(&policy, id, STAPLE_OCSP_REVOKED) == usual,
       "a recheck that is later than the middle puts nothing off");
    policy.revoked_recheck = S(HOUR);
    policy.refresh_age = S(60);
    ok(due_of_status(&policy, id, STAPLE_OCSP_REVOKED) == T0 + S(60),
       "a cache timeout that is sooner holds for it, too");
}

static const struct backoff_case_t {
    const char *name;
    unsigned failing;
    long cap, remaining, retry_after;
    double least, most;
} backoff_cases[] = {
    { "the first: 5 s", 1, 600, 0, -1, 4, 6 },
    { "the second: 10 s", 2, 600, 0, -1, 8, 12 },
    { "the fifth: 80 s", 5, 600, 0, -1, 64, 96 },
    { "the hundredth: the cap", 100, 600, 0, -1, 480, 720 },
    { "cPanel's cap of 60 s", 100, 60, 0, -1, 48, 72 },
    { "a cap below 5 s", 1, 2, 0, -1, 1.6, 2.4 },
    { "a cap of 0 is a second", 9, 0, 0, -1, 0.8, 1.2 },
    { "Retry-After is honoured", 1, 600, 0, 120, 120, 144 },
    { "Retry-After beyond reason is an hour", 1, 600, 0, 999999, 3600, 4320 },
    { "Retry-After shorter than the pause", 100, 600, 0, 1, 480, 720 },
    { "ten minutes left: every minute", 100, 600, 600, -1, 48, 72 },
    { "ten seconds left: every five", 100, 600, 10, -1, 4, 6 },
    { "days left: the cap", 100, 600, 3 * DAY, -1, 480, 720 },
    { "days left do not prolong the first", 1, 600, 3 * DAY, -1, 4, 6 },
    { "Retry-After of an hour, an hour left", 1, 600, HOUR, HOUR, 360, 432 },
    { "Retry-After of an hour, three days left", 1, 600, 3 * DAY, HOUR,
      3600, 4320 },
    { "Retry-After just below the pause", 3, 600, 0, 19, 19, 24 },
    { "Retry-After of 0", 1, 600, 0, 0, 4, 6 },
    { "a cap of an hour bounds Retry-After too", 1, 7200, 0, 999999, 7200,
      8640 },
};

static void test_backoff(void)
{
    apr_size_t i;

    for (i = 0; i < sizeof(backoff_cases) / sizeof(*backoff_cases); i++) {
        const struct backoff_case_t *c = &backoff_cases[i];
        staple_cert_policy_t policy = default_policy();
        double pause = 0;
        int n;

        policy.retry_cap = S(c->cap);
        for (n = 0; n < 200; n++) {
            unsigned char id[STAPLE_ID_LEN];

            fill_id(id, n);
            pause = (double)staple_rules_backoff(
                        &policy, id, c->failing, S(c->remaining),
                        c->retry_after < 0 ? -1 : S(c->retry_after)) / 1e6;
            if (pause < c->least || pause > c->most) {
                break;
            }
        }
        if (!ok(n == 200, "backoff: %s", c->name)) {
            diag("pause of %f s", pause);
        }
    }
}

static staple_cache_meta_t meta_of(long this_update, long next_update,
                                   apr_uint32_t status, apr_uint32_t flags)
{
    staple_cache_meta_t meta;

    memset(&meta, 0, sizeof(meta));
    meta.this_update = T0 + S(this_update);
    meta.next_update = next_update ? T0 + S(next_update) : 0;
    meta.status = status;
    meta.flags = flags;
    return meta;
}

#define GOOD STAPLE_OCSP_GOOD
#define REVOKED STAPLE_OCSP_REVOKED
#define ERROR STAPLE_RULES_IS_ERROR

static const struct better_case_t {
    const char *name;
    long held_this, held_next;
    int held_status;
    unsigned held_flags;
    long new_this, new_next;
    int new_status;
    long now;
    int expected;
    int is_smaller;
} better_cases[] = {
    { "newer", 0, 100, GOOD, 0, 1, 101, GOOD, 50, 1, 0 },
    { "newer but ends sooner", 0, 100, GOOD, 0, 1, 60, GOOD, 50, 1, 0 },
    { "the same", 0, 100, GOOD, 0, 0, 100, GOOD, 50, 0, 0 },
    { "the same, and smaller", 0, 100, GOOD, 0, 0, 100, GOOD, 50, 1, 1 },
    { "smaller, ends sooner", 0, 100, GOOD, 0, 0, 99, GOOD, 50, 0, 1 },
    { "smaller, older", 1, 100, GOOD, 0, 0, 100, GOOD, 50, 0, 1 },
    { "smaller, good instead of revoked", 0, 100, REVOKED, 0, 0, 100, GOOD, 50,
      0, 1 },
    { "as new and longer", 0, 100, GOOD, 0, 0, 200, GOOD, 50, 1, 0 },
    { "as new and shorter", 0, 100, GOOD, 0, 0, 90, GOOD, 50, 0, 0 },
    { "older", 10, 100, GOOD, 0, 0, 100, GOOD, 50, 0, 0 },
    { "older but longer", 10, 100, GOOD, 0, 0, 500, GOOD, 50, 0, 0 },
    { "older, the held one has ended", 10, 40, GOOD, 0, 0, 500, GOOD, 50, 1,
      0 },
    { "revoked, as new", 0, 100, GOOD, 0, 0, 100, REVOKED, 50, 1, 0 },
    { "good, as new as revoked", 0, 100, REVOKED, 0, 0, 200, GOOD, 50, 0, 0 },
    { "good again, newer", 0, 100, REVOKED, 0, 1, 100, GOOD, 50, 1, 0 },
    { "a response for an error", 40, 100, STAPLE_OCSP_UNKNOWN, ERROR, 0, 60,
      GOOD, 50, 1, 0 },
};

static void test_better(void)
{
    staple_cert_policy_t policy = default_policy();
    apr_size_t i;

    policy.return_errors = 1;
    for (i = 0; i < sizeof(better_cases) / sizeof(*better_cases); i++) {
        const struct better_case_t *c = &better_cases[i];
        staple_cache_meta_t held = meta_of(c->held_this, c->held_next,
                                           (apr_uint32_t)c->held_status,
                                           c->held_flags);
        staple_ocsp_verdict_t verdict;

        memset(&verdict, 0, sizeof(verdict));
        verdict.status = (staple_ocsp_status_e)c->new_status;
        verdict.this_update = T0 + S(c->new_this);
        verdict.next_update = T0 + S(c->new_next);
        is_int(staple_rules_is_better(&policy, &held, &verdict,
                                      c->is_smaller, T0 + S(c->now)),
               c->expected, c->name);
    }
}

static const struct serve_case_t {
    const char *name;
    long this_update, next_update; /* after T0 */
    unsigned flags;
    int return_errors;
    long max_age;
    apr_time_t now; /* microseconds after T0 */
    int expected;
} serve_cases[] = {
    { "inside", 0, 100, 0, 0, -1, S(50), 1 },
    { "the last microsecond", 0, 100, 0, 0, -1, S(100) - 1, 1 },
    { "at nextUpdate", 0, 100, 0, 0, -1, S(100), 0 },
    { "after nextUpdate, within the skew", 0, 100, 0, 0, -1, S(200), 0 },
    { "ahead, within the skew", 0, 100, 0, 0, -1, S(-300), 1 },
    { "ahead, beyond the skew", 0, 100, 0, 0, -1, S(-300) - 1, 0 },
    { "MaxAge ends it sooner", 0, 100, 0, 0, 30, S(30), 0 },
    { "before MaxAge ends it", 0, 100, 0, 0, 30, S(30) - 1, 1 },
    { "no nextUpdate: 12 hours", 0, 0, 0, 0, -1, S(12 * HOUR) - 1, 1 },
    { "no nextUpdate: over", 0, 0, 0, 0, -1, S(12 * HOUR), 0 },
    { "an error, wanted", 0, 100, ERROR, 1, -1, S(50), 1 },
    { "an error, wanted, over", 0, 100, ERROR, 1, -1, S(100), 0 },
    { "an error, not wanted any more", 0, 100, ERROR, 0, -1, S(50), 0 },
};

static void test_serve(void)
{
    apr_size_t i;

    for (i = 0; i < sizeof(serve_cases) / sizeof(*serve_cases); i++) {
        const struct serve_case_t *c = &serve_cases[i];
        staple_cert_policy_t policy = default_policy();
        staple_cache_meta_t meta = meta_of(c->this_update, c->next_update, 0,
                                           c->flags);

        policy.return_errors = c->return_errors;
        policy.times.max_age = c->max_age < 0 ? -1 : S(c->max_age);
        is_int(staple_rules_may_serve(&policy, &meta, T0 + c->now),
               c->expected, c->name);
    }
}

/* What is older than StapleMaxAge is not served, unless it is off, or the
 * certificate must-staple; nothing is replaced for its age. */
static void test_age(void)
{
    staple_cert_policy_t policy = default_policy();
    staple_cache_meta_t meta = meta_of(0, 60 * DAY, 0, 0);
    staple_ocsp_verdict_t same = { .this_update = T0,
                                   .next_update = T0 + S(60 * DAY) };
    apr_time_t end = T0 + S(10 * DAY);

    policy.greatest_age = S(10 * DAY);
    ok(staple_rules_may_serve(&policy, &meta, end - 1)
       && !staple_rules_may_serve(&policy, &meta, end),
       "served to an age of ten days");
    ok(staple_rules_serve_until(&policy, &meta) == end, "... and it is told");
    ok(!staple_rules_is_better(&policy, &meta, &same, 0, end),
       "... but not replaced by itself");
    ok(!staple_rules_is_overdue(&policy, &same, T0 + S(6 * DAY))
       && staple_rules_is_overdue(&policy, &same, T0 + S(7 * DAY)),
       "overdue after 5/8 of that");
    policy.outlives_age = 1;
    ok(staple_rules_may_serve(&policy, &meta, end), "must-staple: served on");
    policy.outlives_age = 0;
    policy.greatest_age = 0;
    ok(staple_rules_may_serve(&policy, &meta, end), "off: served on");
}

static const struct urgent_case_t {
    const char *name;
    long this_update, next_update, max_age, now;
    int expected;
} urgent_cases[] = {
    { "a tenth left is not urgent", 0, 1000, -1, 900, 0 },
    { "less than a tenth is", 0, 1000, -1, 901, 1 },
    { "what has ended is", 0, 1000, -1, 2000, 1 },
    { "a tenth of what MaxAge leaves", 0, 1000, 500, 451, 1 },
    { "a tenth of 12 hours without nextUpdate", 0, 0, -1, 39000, 1 },
};

static void test_urgent(void)
{
    apr_size_t i;

    for (i = 0; i < sizeof(urgent_cases) / sizeof(*urgent_cases); i++) {
        const struct urgent_case_t *c = &urgent_cases[i];
        staple_cert_policy_t policy = default_policy();
        staple_cache_meta_t meta = meta_of(c->this_update, c->next_update, 0,
                                           0);

        policy.times.max_age = c->max_age < 0 ? -1 : S(c->max_age);
        is_int(staple_rules_is_urgent(&policy, &meta, T0 + S(c->now)),
               c->expected, c->name);
    }
}

/* ----- what is kept of an exchange ----- */

static staple_fetch_answer_t an_answer(void)
{
    staple_fetch_answer_t answer;

    memset(&answer, 0, sizeof(answer));
    answer.url = "http://b.test/";
    answer.url_index = 1;
    answer.peer = "192.0.2.1:80";
    answer.resolve_took = answer.connect_took = answer.wait_took = -1;
    return answer;
}

static staple_cache_state_t state_after(const staple_fetch_answer_t *answer)
{
    static const staple_ocsp_verdict_t verdict = {
        .reason = STAPLE_OCSP_TRY_LATER
    };
    staple_cache_state_t state;

    memset(&state, 0xff, sizeof(state)); /* whatever was there before */
    state.last_attempt = T0;
    staple_words_note(&state, answer, &verdict);
    return state;
}

static void test_peers(apr_pool_t *p)
{
    static const struct {
        const char *given, *shown;
    } cases[] = {
        { "192.0.2.1:80", "192.0.2.1:80" },
        { "255.255.255.255:65535", "255.255.255.255:65535" },
        { "[2001:db8::1]:8080", "[2001:db8::1]:8080" },
        { "[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
          "[2001:db8:1111:2222:3333:4444:5555:6666]:65535" },
        { "[::ffff:192.0.2.1]:80", "192.0.2.1:80" },
        { "[fe80::1]:80", "[fe80::1]:80" },
        { "[fe80::1%lo]:80", "" }, /* nobody gives a zone */
        { "", "" },
        { ":80", "" },
        { "192.0.2.1", "" },
        { "host.test:80", "" },
    };
    apr_size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        staple_fetch_answer_t answer = an_answer();
        staple_cache_state_t state;

        answer.peer = cases[i].given;
        state = state_after(&answer);
        is_str(staple_words_peer_text(&state, p), cases[i].shown,
               *cases[i].given ? cases[i].given : "nobody");
    }
}

static void test_urls(apr_pool_t *p)
{
    apr_array_header_t *urls = apr_array_make(p, 3, sizeof(const char *));
    staple_fetch_answer_t answer = an_answer();
    staple_cache_state_t state = state_after(&answer);

    APR_ARRAY_PUSH(urls, const char *) = "http://a.test/";
    APR_ARRAY_PUSH(urls, const char *) = "http://b.test/";
    is_str(staple_words_url(&state, urls), "http://b.test/",
           "the URL that was asked is known");
    is_int(staple_words_url_number(&state), 2, "it is the second");
    APR_ARRAY_IDX(urls, 1, const char *) = "http://c.test/";
    ok(!staple_words_url(&state, urls),
       "not when another has taken its place");
    urls->nelts = 1;
    ok(!staple_words_url(&state, urls), "nor when there are fewer");
    staple_words_note_shared(&state);
    ok(!staple_words_url(&state, urls)
       && staple_words_url_number(&state) == 0
       && !*staple_words_peer_text(&state, p)
       && !*staple_words_phases_text(&state, p),
       "what came out of the share has none, nor an address or phases");
    is_str(staple_words_outcome_text(&state, p), "found in the share",
           "and says so");
    memset(&state, 0, sizeof(state));
    ok(!staple_words_url(&state, urls)
       && staple_words_url_number(&state) == 0, "nobody was asked");
    is_str(staple_words_outcome_text(&state, p), "none yet", "nor did he");
}

static void test_phases(apr_pool_t *p)
{
    staple_fetch_answer_t answer = an_answer();
    staple_cache_state_t state = state_after(&answer);
    staple_words_phases_t phases;

    is_str(staple_words_phases_text(&state, p),
           "resolve -, connect -, wait -", "phases that did not end");
    answer.resolve_took = 0;
    answer.connect_took = 2999;
    answer.wait_took = S(1) + 250000;
    state = state_after(&answer);
    is_str(staple_words_phases_text(&state, p),
           "resolve 0 ms, connect 2 ms, wait 1.2 s", "phases that did");
    is_str(staple_words_span_text(-1, p), "-", "no span");
    is_str(staple_words_span_text(S(12), p), "12 s", "seconds");
    is_str(staple_words_span_text(S(HOUR) - 1, p), "59 min", "minutes");
    is_str(staple_words_span_text(S(HOUR) + S(240), p), "1 h 4 min", "hours");
    is_str(staple_words_span_text(S(51 * HOUR), p), "2 d 3 h", "days");
    is_str(staple_words_time_text(S(1), p), "1970-01-01 00:00:01 UTC",
           "a moment for people");
    is_str(staple_words_iso_text(S(1), p), "1970-01-01T00:00:01Z",
           "a moment for programs");
    is_str(staple_words_date_text(S(1), p), "1970-01-01", "a day");
    is_str(staple_words_iso_text(0, p), NULL, "no moment");
    answer.wait_took = S(HOUR);
    state = state_after(&answer);
    staple_words_phases(&state, &phases);
    ok(phases.wait == 65534000, "an hour is a minute and a bit");
    memset(&state, 0, sizeof(state));
    staple_words_phases(&state, &phases);
    ok(phases.resolve == -1 && phases.connect == -1 && phases.wait == -1,
       "without an exchange there are none");
}

static void test_outcomes(apr_pool_t *p)
{
    staple_fetch_answer_t answer = an_answer();
    staple_cache_state_t state;
    unsigned int i;
    int empty = 0;

    answer.outcome = STAPLE_FETCH_HTTP_STATUS;
    answer.http_status = 503;
    state = state_after(&answer);
    is_str(staple_words_outcome_text(&state, p), "HTTP status 503",
           "a status");
    answer.outcome = STAPLE_FETCH_REJECTED;
    state = state_after(&answer);
    is_int(staple_words_reason(&state), STAPLE_OCSP_TRY_LATER, "a reason");
    ok(strstr(staple_words_outcome_text(&state, p), "tryLater") != NULL,
       "in words");
    for (i = 0; i < 0x10000; i++) {
        state.outcome = STAPLE_FETCH_REJECTED;
        state.detail = (apr_uint16_t)i;
        empty += !*staple_words_outcome_text(&state, p);
        state.outcome = (apr_uint16_t)i;
        empty += !*staple_words_outcome_text(&state, p);
    }
    is_int(empty, 0, "whatever a file says has words");
}

/* ----- probes, by a made-up clock ----- */

/* The first probe at or after `from`, in seconds of an outage. */
static long probe_from(long from)
{
    long at = 0;

    do {
        at += (long)apr_time_sec(staple_rules_probe_interval(
                                     apr_time_from_sec(at)));
    } while (at < from);
    return at;
}

/* However long an outage takes to the second, its end is found out within one
 * interval. */
static long longest_wait(long outage)
{
    long longest = 0, end;

    for (end = outage; end < outage + 60; end++) {
        long wait = probe_from(end) - end;

        longest = wait > longest ? wait : longest;
    }
    return longest;
}

static void test_probes(void)
{
    ok(longest_wait(0) <= 3, "a probe every 3 s at the beginning");
    ok(longest_wait(20) < 5, "... after 20 s, and a minute");
    ok(longest_wait(480) < 5, "every 5 s in the first ten minutes");
    ok(longest_wait(86400) < 30, "every 30 s after a day");
}

/* ----- the tables of docs/schedule.md ----- */

#define IDS 4096

/* The earliest and the latest of many certificates. */
typedef struct range_t {
    double least, most;
} range_t;

static void widen(range_t *range, double value, int n)
{
    range->least = !n || value < range->least ? value : range->least;
    range->most = !n || value > range->most ? value : range->most;
}

static range_t due_range(long validity, long fetched)
{
    staple_cert_policy_t policy = default_policy();
    range_t range = { 0, 0 };
    int n;

    for (n = 0; n < IDS; n++) {
        unsigned char id[STAPLE_ID_LEN];

        fill_id(id, n);
        widen(&range, (double)(due_of(&policy, id, T0 + S(fetched),
                                      T0 + S(validity), -1) - T0)
                      / 1e6, n);
    }
    return range;
}

static range_t pause_range(long cap, unsigned failing, long remaining,
                           long retry_after)
{
    staple_cert_policy_t policy = default_policy();
    range_t range = { 0, 0 };
    int n;

    policy.retry_cap = S(cap);
    for (n = 0; n < IDS; n++) {
        unsigned char id[STAPLE_ID_LEN];

        fill_id(id, n);
        widen(&range, (double)staple_rules_backoff(
                          &policy, id, failing, S(remaining),
                          retry_after < 0 ? -1 : S(retry_after)) / 1e6, n);
    }
    return range;
}

static void print_range(range_t range, double unit)
{
    double least = range.least / unit, most = range.most / unit;

    if (most - least < 0.05) {
        printf(" %.1f |", most);
    }
    else {
        printf(" %.1f - %.1f |", least, most);
    }
}

static void print_pause(range_t range)
{
    printf(" %.0f - %.0f |", range.least, range.most);
}

static void print_due_table(void)
{
    static const struct {
        const char *name, *unit;
        long validity;
        double seconds;
    } rows[] = {
        { "10 minutes", "minutes", 600, 60 },
        { "1 hour", "minutes", HOUR, 60 },
        { "1 day", "hours", DAY, HOUR },
        { "4 days", "hours", 4 * DAY, HOUR },
        { "7 days", "hours", 7 * DAY, HOUR },
        { "10 days", "hours", 10 * DAY, HOUR },
        { "60 days", "hours", 60 * DAY, HOUR },
    };
    apr_size_t i;

    printf("| validity | in | signed when asked | signed ahead, obtained at "
           "5 %% | obtained at 25 %% | the same again at 60 %% | and at "
           "62.5 %% | urgent from |\n| --- | --- | --- | --- | --- | --- | "
           "--- | --- |\n");
    for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        long v = rows[i].validity;
        long planned = v < 10 * DAY ? v : 10 * DAY;
        double unit = rows[i].seconds;

        printf("| %s | %s |", rows[i].name, rows[i].unit);
        print_range(due_range(v, 0), unit);
        print_range(due_range(v, planned / 20), unit);
        print_range(due_range(v, planned / 4), unit);
        print_range(due_range(v, planned * 3 / 5), unit);
        print_range(due_range(v, planned * 5 / 8), unit);
        printf(" %.1f |\n", (double)planned * 0.9 / unit);
    }
}

static void print_pause_table(void)
{
    unsigned failing;

    printf("\n| failures in a row | up to 60 | up to 600 |\n"
           "| --- | --- | --- |\n");
    for (failing = 1; failing <= 9; failing++) {
        printf("| %u |", failing);
        print_pause(pause_range(60, failing, 0, -1));
        print_pause(pause_range(600, failing, 0, -1));
        printf("\n");
    }
}

static void print_end_table(void)
{
    static const struct {
        const char *name;
        long remaining;
    } rows[] = {
        { "1 day", DAY }, { "1 hour", HOUR }, { "30 minutes", 1800 },
        { "10 minutes", 600 }, { "2 minutes", 120 }, { "10 seconds", 10 },
        { "nothing is held", 0 },
    };
    apr_size_t i;

    printf("\n| still valid for | up to 60 | up to 600 | Retry-After: 30 "
           "| Retry-After: 1800 | Retry-After: 86400 |\n"
           "| --- | --- | --- | --- | --- | --- |\n");
    for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        long r = rows[i].remaining;

        printf("| %s |", rows[i].name);
        print_pause(pause_range(60, 100, r, -1));
        print_pause(pause_range(600, 100, r, -1));
        print_pause(pause_range(600, 1, r, 30));
        print_pause(pause_range(600, 1, r, 1800));
        print_pause(pause_range(600, 1, r, 86400));
        printf("\n");
    }
}

/* The questions of `certs` certificates in an hour of an outage that begins
 * with all of them: each has its pauses, and a responder that is down is asked
 * one thing every ten seconds at most. */
static long count_attempts(long certs, long from, long to)
{
    staple_cert_policy_t policy = default_policy();
    long sum = 0, most = (to - from) / 10;
    long n;

    for (n = 0; n < certs && sum < most; n++) {
        unsigned char id[STAPLE_ID_LEN];
        apr_uint32_t failing = 0;
        apr_time_t at = 0;

        fill_id(id, (int)n);
        while (at < apr_time_from_sec(to)) {
            sum += at >= apr_time_from_sec(from);
            at += staple_rules_backoff(&policy, id, ++failing, 0, -1);
        }
    }
    return sum < most ? sum : most;
}

static long count_probes(long from, long to)
{
    long at, sum = 0;

    for (at = probe_from(from); at < to; at = probe_from(at + 1)) {
        sum++;
    }
    return sum;
}

static void print_probe_table(void)
{
    static const struct {
        const char *name;
        long from;
    } rows[] = {
        { "the first", 0 }, { "the second", HOUR }, { "the 24th", 23 * HOUR }
    };
    apr_size_t i;

    printf("\n| hour of the outage | probes | and for 1 certificate | for 4 "
           "certificates | for 1,000 certificates, about |\n"
           "| --- | --- | --- | --- | --- |\n");
    for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        long from = rows[i].from, to = rows[i].from + HOUR;

        printf("| %s | %ld | %ld | %ld | %ld |\n", rows[i].name,
               count_probes(from, to), count_attempts(1, from, to),
               count_attempts(4, from, to), count_attempts(1000, from, to));
    }
}

static int print_tables(void)
{
    print_due_table();
    print_pause_table();
    print_end_table();
    print_probe_table();
    return 0;
}

int main(int argc, char **argv)
{
    apr_pool_t *p;

    if (argc == 2 && !strcmp(argv[1], "tables")) {
        return print_tables();
    }
    test_due();
    test_due_revoked();
    test_spread();
    test_spread_ahead();
    test_urgent();
    test_backoff();
    test_better();
    test_serve();
    test_age();
    test_probes();
    apr_initialize();
    apr_pool_create(&p, NULL);
    test_peers(p);
    test_urls(p);
    test_phases(p);
    test_outcomes(p);
    return tap_done();
}
