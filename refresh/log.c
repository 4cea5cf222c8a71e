/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the refresh tells an administrator: a message for each change of state.
 *
 * The one idea: a message goes to the log of the site that it is about, and
 * names certificate and virtual host, responder, reason, and what happens
 * next; it is given once when things get worse and once when they are well
 * again, and every attempt in between is for those who ask for level INFO.
 * docs/messages.md lists the tags.
 */

#include "refresh_int.h"

#include <string.h>

#include <http_log.h>
#include <apr_strings.h>

APLOG_USE_MODULE(staple);

static const char *hosts_text(const staple_cert_t *cert, apr_pool_t *p)
{
    const char *first = APR_ARRAY_IDX(cert->hosts, 0, const char *);

    return cert->hosts->nelts == 1
           ? first
           : apr_psprintf(p, "%s and %d more", first, cert->hosts->nelts - 1);
}

/* Where what is said of a certificate belongs: to the log of its first virtual
 * host, as with mod_ssl. */
static server_rec *site_of(const staple_cert_t *cert, server_rec *s)
{
    return cert->server ? cert->server : s;
}

/* In the words of the status page, and then what exactly happened. */
static const char *cause_text(const round_t *round,
                              const staple_fetch_answer_t *answer)
{
    const char *words;

    if (answer->outcome == STAPLE_FETCH_REJECTED && round->is_judged) {
        return apr_pstrcat(round->pool, "its response ",
                           staple_words_rejection_text(
                               (int)round->verdict.reason,
                               (int)round->verdict.status), NULL);
    }
    words = round->noted
            ? staple_words_outcome_text(round->noted, round->pool)
            : staple_fetch_outcome_text(answer->outcome);
    return strstr(answer->reason, words)
           ? answer->reason
           : apr_pstrcat(round->pool, words, ": ", answer->reason, NULL);
}

static const char *peer_text(const staple_fetch_answer_t *answer,
                             apr_pool_t *p)
{
    return *answer->peer ? apr_pstrcat(p, " at ", answer->peer, NULL) : "";
}

static const char *service_text(const staple_cert_t *cert, const held_t *held,
                                apr_pool_t *p)
{
    if (staple_refresh_is_valid(held)) {
        return apr_pstrcat(p, "keeping the one that is valid until ",
                           staple_words_time_text(held->until, p), NULL);
    }
    return cert->is_must_staple
           ? "there is none to staple, and the certificate is must-staple: "
             "clients refuse it"
           : "there is none to staple meanwhile";
}

/* Loud when things have got worse since it was told last. What a responder does
 * to all its certificates is told once, of the responder. */
static int level_of(alarm_e alarm, const task_t *task)
{
    if (alarm <= task->alarm
        || (alarm == ALARM_FAILING && task->counted)) {
        return APLOG_INFO;
    }
    switch (alarm) {
    case ALARM_REFUSED:
        return APLOG_CRIT;
    case ALARM_URGENT:
        return APLOG_ERR;
    default:
        return APLOG_WARNING;
    }
}

/* Whether its failure was logged as one of its responder, not of its own. */
static int is_told_of_responder(const task_t *task)
{
    return task->counted && task->alarm <= ALARM_FAILING;
}

/* ----- the program of StapleMessageCmd ----- */

/* What a program may take, and how many run at a time. */
#define MESSAGE_TIMEOUT SECONDS(30)
#define MESSAGES_AT_A_TIME 4

static void on_message_end(void *baton, const staple_message_end_t *end)
{
    staple_refresh_t *refresh = STAPLE_CAST(staple_refresh_t, REFRESH_MAGIC,
                                            baton);
    static const char *const what[] = {
        "was told", "failed", "took too long and was ended",
        "could not be started"
    };

    if (end->end != STAPLE_MESSAGE_DONE) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, end->rv, refresh->conf.server,
                     "STP0211: StapleMessageCmd for %s of %s %s (exit status "
                     "%d)", staple_message_text(end->reason), end->name,
                     what[end->end], end->exit_status);
    }
}

void staple_refresh_log_open(staple_refresh_t *refresh)
{
    staple_message_conf_t conf;
    apr_status_t rv;

    if (!refresh->conf.message_cmd) {
        return;
    }
    memset(&conf, 0, sizeof(conf));
    conf.command = refresh->conf.message_cmd;
    conf.timeout = MESSAGE_TIMEOUT;
    conf.concurrency = MESSAGES_AT_A_TIME;
    conf.ended = on_message_end;
    conf.baton = refresh;
    rv = staple_message_create(&refresh->message, &conf, refresh->pool);
    if (rv) {
        refresh->message = NULL;
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, refresh->conf.server,
                     "STP0212: StapleMessageCmd cannot be used");
    }
}

static const char *variable(const char *name, const char *value, apr_pool_t *p)
{
    return apr_pstrcat(p, name, "=", value, NULL);
}

/* What the status page says at this moment, for programs.
 * @param exchange how the last one ended; NULL: the ring knows */
static const char *const *variables_of(staple_refresh_t *refresh,
                                       const staple_cert_t *cert,
                                       const staple_cache_state_t *exchange,
                                       apr_pool_t *p)
{
    const char **variables = apr_pcalloc(p, (STAPLE_MESSAGE_VARIABLES + 1)
                                            * sizeof(*variables));
    staple_state_advice_t advice;
    staple_cache_state_t state;
    staple_state_e now;

    if (!exchange) {
        staple_cache_state(refresh->conf.cache, cert->slot, &state);
        exchange = &state;
    }
    now = staple_refresh_state_of(refresh, cert, exchange, apr_time_now());
    advice = staple_state_advise(now, exchange,
                                 staple_words_url(exchange, cert->urls), p);
    variables[0] = variable("STAPLE_STATE", staple_state_name(now), p);
    variables[1] = variable("STAPLE_SEVERITY", staple_severity_name(
                                staple_state_severity(now)), p);
    variables[2] = variable("STAPLE_CAUSE", exchange->failing
                            ? staple_words_outcome_text(exchange, p) : "", p);
    variables[3] = variable("STAPLE_LOOK_AT", advice.who, p);
    variables[4] = variable("STAPLE_REMEDY", advice.remedy, p);
    return variables;
}

static void notify(staple_refresh_t *refresh, const staple_cert_t *cert,
                   const staple_cache_state_t *exchange,
                   staple_message_e reason, const char *detail, apr_pool_t *p)
{
    staple_message_note_t note;

    if (!refresh->message) {
        return;
    }
    memset(&note, 0, sizeof(note));
    note.id = cert->id;
    note.reason = reason;
    note.name = cert->name;
    note.serial = cert->serial;
    note.hosts = apr_array_pstrcat(p, cert->hosts, ',');
    note.detail = detail;
    note.variables = variables_of(refresh, cert, exchange, p);
    staple_message_send(refresh->message, &note);
}

/* @param exchange as above */
static void notify_alarm(const task_t *task,
                         const staple_cache_state_t *exchange, alarm_e alarm,
                         const char *detail, apr_pool_t *p)
{
    if (alarm > task->alarm) {
        notify(task->refresh, task->cert, exchange,
               alarm == ALARM_FAILING ? STAPLE_MESSAGE_ERRORED
                                      : STAPLE_MESSAGE_EXPIRING, detail, p);
    }
}

/* ----- messages ----- */

/* ----- an issuer that the chain lacks ----- */

void staple_refresh_log_issuer(server_rec *s, const staple_cert_t *cert,
                               const char *url)
{
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, site_of(cert, s),
                 "STP0156: %s (%s): its issuer's certificate was fetched from "
                 "%s", cert->name,
                 APR_ARRAY_IDX(cert->hosts, 0, const char *), url);
}

void staple_refresh_log_no_issuer(server_rec *s, const task_t *task,
                                  const staple_fetch_answer_t *answer,
                                  int failing)
{
    const staple_cert_t *cert = task->cert;

    ap_log_error(APLOG_MARK, failing > 1 ? APLOG_INFO : APLOG_WARNING, 0,
                 site_of(cert, s), "STP0155: %s (%s) is not stapled: its "
                 "issuer's certificate is not in its chain and was not fetched "
                 "from %s: %s; append the certificate of %s to the chain",
                 cert->name,
                 APR_ARRAY_IDX(cert->hosts, 0, const char *), answer->url,
                 answer->outcome == STAPLE_FETCH_REJECTED
                 ? "what is there did not sign it" : answer->reason,
                 cert->issuer_dn);
}

void staple_refresh_log_no_room(server_rec *s, const staple_cert_t *cert,
                                apr_status_t rv)
{
    ap_log_error(APLOG_MARK, APLOG_WARNING, rv, site_of(cert, s),
                 "STP0201: %s: its OCSP "
                 "response was fetched but does not fit into the ring; the "
                 "next restart makes a larger one, unless StapleCacheGrow is "
                 "off: increase the size in SSLStaplingCache then",
                 cert->name);
}

void staple_refresh_log_revoked(staple_refresh_t *refresh,
                                const staple_cert_t *cert,
                                const staple_ocsp_verdict_t *verdict,
                                apr_pool_t *ptemp)
{
    const char *when = verdict->revoked_at
                       ? staple_words_time_text(verdict->revoked_at, ptemp)
                       : "1970-01-01 (it was never issued)";
    const char *why = staple_ocsp_crl_reason_text(verdict->crl_reason);

    ap_log_error(APLOG_MARK, APLOG_ERR, 0, site_of(cert, refresh->conf.server),
                 "STP0202: %s "
                 "(%s): the certificate with serial %s was revoked at %s "
                 "(reason: %s); clients that check will refuse it, replace it",
                 cert->name, hosts_text(cert, ptemp), cert->serial, when, why);
    notify(refresh, cert, NULL, STAPLE_MESSAGE_REVOKED,
           apr_psprintf(ptemp, "revoked at %s (reason: %s)", when, why), ptemp);
}

void staple_refresh_log_unrevoked(staple_refresh_t *refresh,
                                  const staple_cert_t *cert,
                                  const staple_ocsp_verdict_t *verdict,
                                  apr_pool_t *ptemp)
{
    const char *until = staple_words_time_text(
        staple_rules_until(cert->policy, verdict), ptemp);

    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0,
                 site_of(cert, refresh->conf.server), "STP0270: %s (%s): the "
                 "CA had revoked the certificate with serial %s and says now "
                 "that it is good, as after a hold; that is stapled, until %s",
                 cert->name, hosts_text(cert, ptemp), cert->serial, until);
    notify(refresh, cert, NULL, STAPLE_MESSAGE_RECOVERED,
           apr_pstrcat(ptemp, "not revoked any more; valid until ", until,
                       NULL), ptemp);
}

void staple_refresh_log_failure(server_rec *s, const round_t *round,
                                const held_t *held,
                                const staple_fetch_answer_t *answer,
                                apr_interval_time_t pause, alarm_e alarm)
{
    const staple_cert_t *cert = round->task->cert;
    apr_pool_t *p = round->pool;
    int level = level_of(alarm, round->task);
    const char *cause = cause_text(round, answer);
    const char *service = service_text(cert, held, p);

    ap_log_error(APLOG_MARK, level, 0, site_of(cert, s),
                 "STP0203: %s (%s): no new OCSP "
                 "response from %s%s: %s; %s; next attempt in %"
                 APR_TIME_T_FMT " s", cert->name, hosts_text(cert, p),
                 answer->url, peer_text(answer, p), cause, service,
                 apr_time_sec(pause + SECONDS(1) - 1));
    notify_alarm(round->task, round->noted, alarm,
                 apr_pstrcat(p, cause, "; ", service, NULL), p);
}

/* 0: it may not be served, because it is too old. */
static const char *until_of(apr_time_t until, apr_pool_t *p)
{
    return until ? apr_pstrcat(p, "valid until ",
                               staple_words_time_text(until, p), NULL)
                 : "too old to be stapled (StapleMaxAge)";
}

void staple_refresh_log_success(server_rec *s, const round_t *round,
                                const staple_fetch_answer_t *answer,
                                apr_time_t until, int was_failing,
                                int is_new)
{
    const staple_cert_t *cert = round->task->cert;
    apr_pool_t *p = round->pool;
    const char *until_text = until_of(until, p);
    int usual = was_failing ? APLOG_INFO : APLOG_DEBUG;
    int level = was_failing && !is_told_of_responder(round->task)
                ? APLOG_NOTICE : usual;

    ap_log_error(APLOG_MARK, level, 0, site_of(cert, s),
                 "STP0204: %s (%s): OCSP response "
                 "from %s%s: %s, %s, asked again at %s", cert->name,
                 hosts_text(cert, p), answer->url, peer_text(answer, p),
                 staple_ocsp_status_text(round->verdict.status),
                 until_text, staple_words_time_text(round->task->due, p));
    if ((was_failing || is_new)
        && round->verdict.status == STAPLE_OCSP_GOOD) {
        notify(round->task->refresh, cert, round->noted,
               was_failing ? STAPLE_MESSAGE_RECOVERED : STAPLE_MESSAGE_RENEWED,
               until_text, p);
    }
}

void staple_refresh_log_overdue(server_rec *s, const round_t *round,
                                const staple_fetch_answer_t *answer,
                                apr_time_t now)
{
    const staple_cert_t *cert = round->task->cert;
    const staple_ocsp_verdict_t *verdict = &round->verdict;
    apr_pool_t *p = round->pool;

    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, site_of(cert, s),
                 "STP0222: %s (%s): the "
                 "responder %s has nothing newer than a response that is %"
                 APR_TIME_T_FMT " days old, though valid until %s; browsers "
                 "refuse a staple older than 10 days, so %s; ask the CA to "
                 "sign responses at least every 5 days (StapleMaxAge)",
                 cert->name, hosts_text(cert, p), answer->url,
                 apr_time_sec(now - verdict->this_update) / 86400,
                 staple_words_time_text(verdict->next_update, p),
                 staple_rules_until(cert->policy, verdict)
                 < verdict->next_update
                 ? "it is not stapled once it is older than StapleMaxAge"
                 : "some visitors may be refused");
}

void staple_refresh_log_expired(server_rec *s, const staple_cert_t *cert)
{
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, site_of(cert, s),
                 "STP0205: %s: the certificate "
                 "itself has expired; its responder is not asked",
                 cert->name);
}

void staple_refresh_log_set_aside(server_rec *s, const staple_cert_t *cert)
{
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, site_of(cert, s),
                 "STP0240: %s: the process that "
                 "refreshes OCSP responses has crashed three times while it "
                 "read a response for this certificate; the certificate is "
                 "not refreshed for an hour, and all others are", cert->name);
}

void staple_refresh_log_no_request(server_rec *s, const staple_cert_t *cert,
                                   apr_status_t rv)
{
    ap_log_error(APLOG_MARK, APLOG_ERR, rv, site_of(cert, s),
                 "STP0206: %s: no OCSP request "
                 "could be made", cert->name);
}

void staple_refresh_log_reminder(server_rec *s, const task_t *task,
                                 const held_t *held, alarm_e alarm,
                                 apr_pool_t *ptemp)
{
    const staple_cert_t *cert = task->cert;
    int level = level_of(alarm, task);
    int is_late = staple_refresh_are_files_late(task->refresh);
    const char *fault = is_late ? "cannot be read, because its file system "
                                  "does not answer" : "has nothing newer";
    const char *service = service_text(cert, held, ptemp);

    ap_log_error(APLOG_MARK, level, 0, site_of(cert, s),
                 "STP0207: %s (%s): "
                 "StapleResponseFile is its only source and %s; "
                 "%s%s", cert->name, hosts_text(cert, ptemp), fault, service,
                 is_late ? "" : "; put a newer response there");
    notify_alarm(task, NULL, alarm,
                 apr_pstrcat(ptemp, "StapleResponseFile ", fault, "; ",
                             service, NULL), ptemp);
}

void staple_refresh_log_file_taken(server_rec *s, const staple_cert_t *cert,
                                   const staple_ocsp_verdict_t *verdict)
{
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, site_of(cert, s),
                 "STP0210: %s: a new response "
                 "was taken from its StapleResponseFile: %s", cert->name,
                 staple_ocsp_status_text(verdict->status));
}

/* "look at the network: ..." */
static const char *advice_text(const staple_cache_state_t *state,
                               const char *url, apr_pool_t *p)
{
    staple_state_advice_t advice = staple_state_advise_failure(state, url, p);

    return *advice.who ? apr_pstrcat(p, "; look at ", advice.who, ": ",
                                     advice.remedy, NULL) : "";
}

void staple_refresh_log_outage(const round_t *round,
                               const staple_fetch_answer_t *answer,
                               const staple_cache_state_t *state)
{
    const task_t *task = round->task;
    apr_pool_t *p = round->pool;

    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, task->refresh->conf.server,
                 "STP0302: the OCSP responder %s%s fails: %s; certificates "
                 "that name it: %d, the first to fail: %s; further "
                 "failures are logged at level INFO, those of a certificate "
                 "that is about to lose its staple at level ERR%s",
                 answer->url, peer_text(answer, p), cause_text(round, answer),
                 staple_refresh_count_named(task->refresh, answer->url),
                 task->cert->name, advice_text(state, answer->url, p));
}

void staple_refresh_log_outage_over(server_rec *s, const outage_t *outage,
                                    apr_interval_time_t after)
{
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "STP0303: no certificate "
                 "fails with the OCSP responder %s any more, after %"
                 APR_TIME_T_FMT " s; %d had failed", outage->url,
                 apr_time_sec(after), outage->failed);
}

void staple_refresh_log_answers_again(server_rec *s, const char *url,
                                      apr_interval_time_t after)
{
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, s, "STP0220: the responder %s "
                 "answers again, after %" APR_TIME_T_FMT " s in which "
                 "certificates had nothing to staple; what waits for it is "
                 "asked for now", url, apr_time_sec(after));
}

void staple_refresh_log_probe(server_rec *s, const round_t *round,
                              const staple_fetch_answer_t *answer)
{
    ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, s, "STP0221: %s: the responder %s "
                 "does not answer a probe: %s", round->task->cert->name,
                 answer->url, cause_text(round, answer));
}

static void log_trace(void *baton, const staple_fetch_trace_t *trace)
{
    const staple_refresh_t *refresh = STAPLE_CAST(const staple_refresh_t,
                                                  REFRESH_MAGIC, baton);

    ap_log_error(APLOG_MARK, APLOG_TRACE2, 0, refresh->conf.server,
                 "%s%s%s: %s -> %s after %" APR_TIME_T_FMT " ms%s%s",
                 trace->url, *trace->peer ? " at " : "", trace->peer,
                 trace->from, trace->to, apr_time_as_msec(trace->took),
                 *trace->detail ? ": " : "", trace->detail);
}

void staple_refresh_log_exchanges(staple_refresh_t *refresh)
{
    if (APLOG_IS_LEVEL(refresh->conf.server, APLOG_TRACE2)) {
        refresh->conf.fetch.trace = log_trace;
        refresh->conf.fetch.trace_baton = refresh;
    }
}

void staple_refresh_log_confirmed(server_rec *s, int count, int threads,
                                  apr_interval_time_t took)
{
    ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, s, "STP0128: %d OCSP response%s "
                 "out of the ring file verified in %" APR_INT64_T_FMT " ms, "
                 "on %d thread%s", count, count == 1 ? "" : "s",
                 apr_time_as_msec(took), threads, threads == 1 ? "" : "s");
}

void staple_refresh_log_clock(server_rec *s, apr_interval_time_t jump)
{
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "STP0208: the clock was set "
                 "by %+" APR_TIME_T_FMT " s; all requests are planned again",
                 apr_time_sec(jump));
}

void staple_refresh_log_file_systems(server_rec *s, int do_answer)
{
    if (do_answer) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "STP0272: the file "
                     "systems of StapleResponseFile and "
                     "StapleResponseDirectory answer again");
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "STP0273: a file system of "
                 "StapleResponseFile or StapleResponseDirectory does not "
                 "answer; responses that are put there are not taken until it "
                 "does, and responders are asked as usual");
}

void staple_refresh_file_log(server_rec *s, const response_file_t *file,
                             const char *reason)
{
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "STP0209: StapleResponseFile "
                 "%s is not used: the file %s", file->path, reason);
}

void staple_refresh_log_unsaid(server_rec *s, const char *path, int count)
{
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "STP0310: "
                 "StapleResponseDirectory: %d more files in %s could not be "
                 "used in the last minute; they are not named", count, path);
}

void staple_refresh_log_not_read(server_rec *s, const char *path,
                                 const char *reason)
{
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "STP0271: "
                 "StapleResponseDirectory: %s %s", path, reason);
}
