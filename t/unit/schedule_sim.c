/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The simulation behind t/bench/schedule and t/unit/schedule_year.
 *
 * The one idea: a responder's weather is drawn beforehand, as a list of
 * outages, and a server is a function that is told what minute it is and says
 * whether it staples something valid. So every server lives through the same
 * days, and a run repeats to the request.
 *
 * What the others do, from their sources: mod_ssl (ssl_util_stapling.c) asks
 * in a handshake, keeps an answer for SSLStaplingStandardCacheTimeout (3600 s)
 * and a failure, for which it makes up a tryLater, for
 * SSLStaplingErrorCacheTimeout (600 s). nginx (ngx_event_openssl_stapling.c)
 * asks beside a handshake, at max(now + 5 min, min(nextUpdate - 5 min,
 * now + 1 h)), 5 minutes after a failure. HAProxy (ssl_ocsp.c) has a timer:
 * min(now + 1 h, expiry - 60 s) but not before now + 5 min, after failures
 * 60 s doubled up to an hour; it gives a response up 5 minutes before its end.
 * None of them spreads; all are taken at their best: one process, no restart,
 * a handshake every minute.
 */

#include "schedule_sim.h"

#include <string.h>

#define S(n) apr_time_from_sec((apr_time_t)(n))
#define MINUTE 60
#define HOUR 3600
#define DAY 86400

/* Where it all begins; any moment will do. */
#define T0 S(1700000000)

/* Outages last from half an hour to the longest allowed. The breaks between
 * them, from one hour to 3.6 times that, leave the responder down for 20 % of
 * the time, or a little less, for all begins with a break. */
#define DOWN_MIN (HOUR / 2)
#define UP_MIN HOUR
#define UP_MAX(down_max) ((down_max) * 18 / 5)
#define OUTAGES_MAX 1000

typedef struct outage_t {
    apr_time_t from, until;
} outage_t;

typedef struct weather_t {
    outage_t outages[OUTAGES_MAX];
    int count;
} weather_t;

/* A certificate and how its CA answers for it. */
typedef struct sim_cert_t {
    unsigned char id[STAPLE_ID_LEN];
    const weather_t *weather;
    int at;                  /* the outage that is next, or goes on */
    apr_interval_time_t validity;
    int is_signed_ahead;     /* else signed when asked for */
    apr_time_t phase;        /* ahead: a moment at which one was signed */
    apr_interval_time_t lag; /* and how long after that it is given out */
} sim_cert_t;

/* One server's view of one certificate. */
typedef struct client_t {
    sim_cert_t cert;
    staple_cache_meta_t held;
    int is_held;
    apr_time_t due;       /* of the next question */
    apr_time_t drop_at;   /* mod_ssl: when the cache forgets */
    apr_uint32_t failing;
    long long requests;
    long recovery;        /* minutes since others could have one again */
    int is_lost;          /* nobody had one, and it has none since */
} client_t;

/* Moves to the minute `now`; returns whether a valid staple is served then. */
typedef int live_fn(client_t *c, apr_time_t now);

static const struct kind_t {
    const char *text;
    int days;
    int is_signed_ahead;
} kinds[SIM_KINDS] = {
    { "4 days, signed when asked", 4, 0 },
    { "4 days, signed ahead", 4, 1 },
    { "7 days, signed when asked", 7, 0 },
    { "7 days, signed ahead", 7, 1 },
};

const char *sim_kind_text(int kind)
{
    return kinds[kind].text;
}

/* ----- chance ----- */

/* xorshift32: nothing but a sequence that repeats. */
static apr_uint32_t draw(apr_uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static apr_time_t draw_span(apr_uint32_t *state, int least, int most)
{
    return S(least + (int)(draw(state) % (apr_uint32_t)(most - least + 1)));
}

static void make_weather(weather_t *weather, const sim_conf_t *conf,
                         apr_uint32_t *state)
{
    apr_time_t end = T0 + S((apr_time_t)conf->days * DAY), t = T0;
    int down_max = conf->outage_max * HOUR;

    weather->count = 0;
    while (down_max && weather->count < OUTAGES_MAX) {
        outage_t *outage = &weather->outages[weather->count];

        outage->from = t + draw_span(state, UP_MIN, UP_MAX(down_max));
        outage->until = outage->from + draw_span(state, DOWN_MIN, down_max);
        if (outage->from >= end) {
            return;
        }
        t = outage->until;
        weather->count++;
    }
}

static sim_cert_t make_cert(const struct kind_t *kind,
                            const weather_t *weather, apr_uint32_t *state)
{
    sim_cert_t cert;
    int i;

    memset(&cert, 0, sizeof(cert));
    for (i = 0; i < STAPLE_ID_LEN; i++) {
        cert.id[i] = (unsigned char)(draw(state) >> 16);
    }
    cert.weather = weather;
    cert.validity = S(kind->days * DAY);
    cert.is_signed_ahead = kind->is_signed_ahead;
    cert.phase = T0 - S(30 * DAY) - draw_span(state, 0, kind->days * DAY);
    cert.lag = draw_span(state, 0, 12 * HOUR);
    return cert;
}

/* ----- the responder ----- */

static int is_down(sim_cert_t *cert, apr_time_t now)
{
    const weather_t *weather = cert->weather;

    while (cert->at < weather->count
           && weather->outages[cert->at].until <= now) {
        cert->at++;
    }
    return cert->at < weather->count
           && weather->outages[cert->at].from <= now;
}

/* What a responder that is up gives out: new every half of the validity, and
 * up to 12 hours old then; or new each time. */
static staple_ocsp_verdict_t answer_of(const sim_cert_t *cert, apr_time_t now)
{
    apr_interval_time_t period = cert->validity / 2;
    staple_ocsp_verdict_t verdict;

    memset(&verdict, 0, sizeof(verdict));
    verdict.status = STAPLE_OCSP_GOOD;
    verdict.this_update = now;
    if (cert->is_signed_ahead) {
        verdict.this_update = now - cert->lag
                              - (now - cert->lag - cert->phase) % period;
    }
    verdict.next_update = verdict.this_update + cert->validity;
    return verdict;
}

static int ask(client_t *c, apr_time_t now, staple_ocsp_verdict_t *verdict)
{
    c->requests++;
    if (is_down(&c->cert, now)) {
        return 0;
    }
    *verdict = answer_of(&c->cert, now);
    return 1;
}

static void hold(client_t *c, const staple_ocsp_verdict_t *verdict,
                 apr_time_t now)
{
    c->held = staple_rules_meta(verdict, now);
    c->is_held = 1;
}

/* ----- mod_staple: only calls the rules, as staple_refresh.c does ----- */

static const staple_cert_policy_t policy = {
    .times = { .skew = S(300), .max_age = -1, .default_age = S(12 * HOUR) },
    .timeout = S(10),
    .refresh_age = -1,
    .retry_cap = S(600)
};

static void renew(client_t *c, apr_time_t now)
{
    staple_ocsp_verdict_t verdict;
    apr_interval_time_t remaining = 0;

    if (ask(c, now, &verdict)) {
        staple_cache_meta_t meta = staple_rules_meta(&verdict, now);

        c->failing = 0;
        if (!c->is_held
            || staple_rules_is_better(&policy, &c->held, &verdict, 0, now)) {
            hold(c, &verdict, now);
        }
        c->due = staple_rules_due(&policy, c->cert.id, &meta, -1);
        return;
    }
    if (c->is_held && staple_rules_may_serve(&policy, &c->held, now)) {
        remaining = staple_rules_serve_until(&policy, &c->held) - now;
    }
    c->due = now + staple_rules_backoff(&policy, c->cert.id, ++c->failing,
                                        remaining, -1);
}

static int live_staple(client_t *c, apr_time_t now)
{
    while (c->due <= now) {
        renew(c, c->due);
    }
    return c->is_held && staple_rules_may_serve(&policy, &c->held, now);
}

/* ----- the others ----- */

static int is_current(const client_t *c, apr_time_t now)
{
    return c->is_held && c->held.this_update <= now
           && now < c->held.next_update;
}

static int live_mod_ssl(client_t *c, apr_time_t now)
{
    staple_ocsp_verdict_t verdict;

    if (now < c->drop_at && (!c->is_held || is_current(c, now))) {
        return c->is_held;
    }
    c->is_held = 0;
    if (ask(c, now, &verdict)) {
        hold(c, &verdict, now);
        c->drop_at = now + S(3600);
    }
    else {
        c->drop_at = now + S(600);
    }
    return is_current(c, now);
}

static int live_nginx(client_t *c, apr_time_t now)
{
    int is_served = is_current(c, now); /* the answer comes after this one */
    staple_ocsp_verdict_t verdict;

    if (now < c->due) {
        return is_served;
    }
    c->due = now + S(300);
    if (ask(c, now, &verdict)) {
        apr_time_t sooner = verdict.next_update - S(300);

        hold(c, &verdict, now);
        sooner = sooner < now + S(HOUR) ? sooner : now + S(HOUR);
        c->due = sooner > c->due ? sooner : c->due;
    }
    return is_served;
}

static void renew_haproxy(client_t *c, apr_time_t now)
{
    staple_ocsp_verdict_t verdict;
    apr_interval_time_t pause = S(60);

    if (ask(c, now, &verdict)) {
        hold(c, &verdict, now);
        c->failing = 0;
        pause = verdict.next_update - S(60) - now;
        pause = pause < S(HOUR) ? pause : S(HOUR);
        c->due = now + (pause > S(300) ? pause : S(300));
        return;
    }
    pause = c->failing < 6 ? S(60) << c->failing : S(HOUR);
    c->failing++;
    c->due = now + (pause < S(HOUR) ? pause : S(HOUR));
}

static int live_haproxy(client_t *c, apr_time_t now)
{
    while (c->due <= now) {
        renew_haproxy(c, c->due);
    }
    return is_current(c, now + S(300));
}

static int live_always(client_t *c, apr_time_t now)
{
    staple_ocsp_verdict_t verdict;

    if (ask(c, now, &verdict)
        && (!c->is_held || verdict.next_update > c->held.next_update)) {
        hold(c, &verdict, now);
    }
    return is_current(c, now);
}

static live_fn *const live[SIM_SERVERS] = {
    live_staple, live_mod_ssl, live_nginx, live_haproxy, live_always
};

/* ----- the days ----- */

static void count(sim_result_t *result, client_t *c, int has, int could)
{
    if (has || !could) {
        c->is_lost = !has && (c->is_lost || !could);
        c->recovery = 0;
        result->missing += !has;
        return;
    }
    result->missing++;
    if (!c->is_lost) {
        result->avoidable++;
        return;
    }
    result->recovering++;
    if (++c->recovery > result->longest_recovery) {
        result->longest_recovery = c->recovery;
    }
}

static void run_cert(sim_report_t *report, const sim_cert_t *cert, int kind,
                     const sim_conf_t *conf)
{
    long minutes = (long)conf->days * (DAY / MINUTE), m;
    client_t clients[SIM_SERVERS];
    int i;

    memset(clients, 0, sizeof(clients));
    for (i = 0; i < SIM_SERVERS; i++) {
        clients[i].cert = *cert;
        clients[i].due = T0;
    }
    for (m = 0; m < minutes; m++) {
        apr_time_t now = T0 + S(m * MINUTE);
        int could = live_always(&clients[SIM_ALWAYS], now);

        report->result[SIM_ALWAYS][kind].missing += !could;
        for (i = 0; i < SIM_ALWAYS; i++) {
            count(&report->result[i][kind], &clients[i],
                  live[i](&clients[i], now), could);
        }
    }
    for (i = 0; i < SIM_SERVERS; i++) {
        report->result[i][kind].minutes += minutes;
        report->result[i][kind].requests += clients[i].requests;
        report->result[i][kind].validities +=
            (double)conf->days * DAY / (double)apr_time_sec(cert->validity);
    }
}

/* How much of the time the responder is down. */
static double down_part(sim_report_t *report, const weather_t *weather,
                        const sim_conf_t *conf)
{
    apr_time_t span = S((apr_time_t)conf->days * DAY), sum = 0;
    int i;

    for (i = 0; i < weather->count; i++) {
        const outage_t *o = &weather->outages[i];
        apr_time_t until = o->until < T0 + span ? o->until : T0 + span;
        double hours = (double)apr_time_sec(until - o->from) / HOUR;

        sum += until - o->from;
        if (hours > report->longest_down) {
            report->longest_down = hours;
        }
    }
    return (double)sum / (double)span;
}

void sim_run(sim_report_t *report, const sim_conf_t *conf)
{
    static weather_t weather;
    apr_uint32_t state = conf->seed * 2654435761u | 1u;
    int i, r;

    memset(report, 0, sizeof(*report));
    for (r = 0; r < conf->responders; r++) {
        make_weather(&weather, conf, &state);
        report->down += down_part(report, &weather, conf) / conf->responders;
        for (i = r; i < conf->certificates; i += conf->responders) {
            int kind = i / conf->responders % SIM_KINDS;
            sim_cert_t cert = make_cert(&kinds[kind], &weather, &state);

            run_cert(report, &cert, kind, conf);
        }
    }
}

sim_result_t sim_total(const sim_report_t *report, sim_server_e server)
{
    sim_result_t sum;
    int k;

    memset(&sum, 0, sizeof(sum));
    for (k = 0; k < SIM_KINDS; k++) {
        const sim_result_t *r = &report->result[server][k];

        sum.minutes += r->minutes;
        sum.missing += r->missing;
        sum.recovering += r->recovering;
        sum.avoidable += r->avoidable;
        if (r->longest_recovery > sum.longest_recovery) {
            sum.longest_recovery = r->longest_recovery;
        }
        sum.requests += r->requests;
        sum.validities += r->validities;
    }
    return sum;
}
