/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Walks every state of a certificate: facts that lead to it, its words, its
 * severity and advice, and what is said of it in JSON and in the sums. A state
 * that is added without facts here fails.
 */

#include <apr_general.h>
#include <apr_strings.h>

#include "staple_fetch.h"
#include "staple_report.h"
#include "staple_rules.h"
#include "staple_words.h"
#include "json_out.h"
#include "pki.h"
#include "tap.h"

#define NOW apr_time_from_sec(1800000000)
#define DAY apr_time_from_sec(86400)

static apr_pool_t *pool;

static staple_cert_policy_t policy = {
    .times = { .skew = 0, .max_age = -1, .default_age = DAY },
    .return_errors = 1,
    .greatest_age = 10 * DAY
};

/* @param second another URL; NULL: none */
static staple_cert_t *make_cert(const char *second)
{
    staple_cert_t *cert = apr_pcalloc(pool, sizeof(*cert));
    apr_array_header_t *urls = apr_array_make(pool, 2, sizeof(const char *));
    apr_array_header_t *hosts = apr_array_make(pool, 1, sizeof(const char *));

    cert->id[0] = 0xab;
    cert->name = "www.test";
    cert->subject_dn = cert->issuer_dn = cert->key_type = "x";
    cert->serial = "01";
    cert->not_after = NOW + 90 * DAY;
    cert->scope = STAPLE_CERT_APPLIES;
    APR_ARRAY_PUSH(urls, const char *) = "http://ocsp.test/";
    if (second) {
        APR_ARRAY_PUSH(urls, const char *) = second;
    }
    cert->urls = urls;
    cert->issuer_urls = apr_array_make(pool, 0, sizeof(const char *));
    APR_ARRAY_PUSH(hosts, const char *) = "www.test:443";
    cert->hosts = hosts;
    return cert;
}

/* A certificate with a good response, all being well. */
static void make_view(staple_view_t *view, staple_cert_t *cert)
{
    static const unsigned char der[] = "no response";

    memset(view, 0, sizeof(*view));
    view->cert = cert;
    view->policy = &policy;
    view->id = cert->id;
    view->host = "";
    view->has_slot = view->has_exchange = 1;
    view->der = der;
    view->der_len = sizeof(der);
    view->meta.this_update = NOW - DAY;
    view->meta.next_update = NOW + 3 * DAY;
    view->exchange.last_attempt = view->exchange.last_success = NOW - DAY;
}

static void fail(staple_view_t *view)
{
    view->exchange.failing = 1;
    view->exchange.outcome = STAPLE_FETCH_TIMEOUT;
}

/* Change what has to be changed for a state. */
static void lead_to(staple_state_e state, staple_view_t *view,
                    staple_cert_t *cert)
{
    switch (state) {
    case STAPLE_STATE_REFUSED:
        cert->is_must_staple = 1;
        view->der = NULL;
        fail(view);
        break;
    case STAPLE_STATE_REVOKED:
        view->meta.status = STAPLE_OCSP_REVOKED;
        break;
    case STAPLE_STATE_INVALID:
        view->is_judged = 1;
        view->reason = STAPLE_OCSP_BAD_SIGNATURE;
        break;
    case STAPLE_STATE_ERROR:
        view->meta.flags = STAPLE_RULES_IS_ERROR;
        fail(view);
        break;
    case STAPLE_STATE_EXPIRING:
        view->meta.next_update = NOW + DAY / 100;
        break;
    case STAPLE_STATE_MISSING:
        view->meta.next_update = NOW - 1;
        fail(view);
        break;
    case STAPLE_STATE_TOO_OLD:
        view->meta.this_update = NOW - 11 * DAY;
        break;
    case STAPLE_STATE_NO_ROOM:
        view->has_slot = 0;
        view->der = NULL;
        break;
    case STAPLE_STATE_PENDING:
        view->is_pending = 1;
        break;
    case STAPLE_STATE_WAITING:
        view->der = NULL;
        view->exchange.last_attempt = 0;
        break;
    case STAPLE_STATE_FAILING:
        fail(view);
        break;
    case STAPLE_STATE_NOT_APPLICABLE:
        cert->scope = STAPLE_CERT_SELF_SIGNED;
        view->der = NULL;
        break;
    case STAPLE_STATE_STAPLED:
    case STAPLE_STATES:
        break;
    }
}

static const char *json_of(const staple_view_t *view)
{
    staple_json_t json;

    start(&json);
    staple_report_json_cert(&json, view, STAPLE_REPORT_RESPONSE, pool);
    return out;
}

/* A certificate that has expired: its responder is not to blame. */
static void test_expired(staple_state_e state)
{
    staple_cert_t *cert = make_cert(NULL);
    staple_view_t view;

    make_view(&view, cert);
    lead_to(state, &view, cert);
    fail(&view);
    cert->not_after = NOW - 1;
    staple_report_judge(&view, NOW);
    staple_report_explain(&view, NOW, pool);
    ok(view.state == state && strstr(view.cause, "has expired"),
       "%s, of an expired certificate: the cause", staple_state_name(state));
    is_str(view.advice.who, "the certificate", "... and no responder's");
}

static void test_state(staple_state_e state)
{
    const char *name = staple_state_name(state);
    staple_cert_t *cert = make_cert(NULL);
    staple_report_t report;
    staple_view_t view;
    int is_well = staple_state_severity(state) == STAPLE_SEVERITY_OK;

    make_view(&view, cert);
    lead_to(state, &view, cert);
    staple_report_judge(&view, NOW);
    is_str(staple_state_name(view.state), name, name);
    staple_report_explain(&view, NOW, pool);
    is_int(staple_state_of_name(name), state, "its name is known");
    ok(*staple_state_text(state) && *staple_state_meaning(state),
       "it has words and a meaning");
    ok(is_well || *view.cause, "where it is not well there is a cause");
    ok(is_well || *view.advice.who, "... and who has to do with it");
    ok(is_well || *view.advice.remedy, "... and a remedy");
    is_int(view.numbers.attention, !is_well, "it asks for attention, or not");
    ok(strstr(json_of(&view), apr_psprintf(pool, "\"state\": \"%s\",\n"
                                           "\"severity\": \"%s\"", name,
                                           staple_severity_name(
                                               staple_state_severity(state))))
       != NULL, "JSON says the same") || (diag("%s", out), 0);

    staple_report_start(&report, "ring", NOW, pool);
    staple_report_add(&report, &view, pool);
    staple_report_finish(&report, pool);
    is_int(report.states[state], 1, "it is counted");
    is_int(report.numbers.attention, !is_well, "... as what it is");
    is_int(staple_report_worst(&report), state,
           "... and is the worst there is");
}

static const char *without_quoted_url(const char *remedy)
{
    const char *quoted = strstr(remedy, "'http");
    const char *end = quoted ? strchr(quoted + 1, '\'') : NULL;

    return end ? apr_pstrcat(pool, apr_pstrmemdup(pool, remedy,
                                                  (apr_size_t)(quoted
                                                               - remedy)),
                             end + 1, NULL)
               : remedy;
}

/* What a certificate names is not run by the shell of whoever pastes it. */
static void test_pasted(staple_cache_state_t *exchange)
{
    static const char *const urls[] = {
        "http://;x;@o.test/", "http://$(x):y@o.test/", "http://a&x;b/",
        "http://$(x)/", "http://o.test:80;x/", "http://o.test/;x;$(x)&x"
    };
    static const int outcomes[] = {
        STAPLE_FETCH_NO_NAME, STAPLE_FETCH_REFUSED, STAPLE_FETCH_HTTP_STATUS
    };
    apr_size_t i;

    for (i = 0; i < sizeof(urls) / sizeof(*urls) * 3; i++) {
        const char *remedy;

        exchange->outcome = (apr_uint16_t)outcomes[i % 3];
        remedy = staple_state_advise_failure(exchange, urls[i / 3],
                                             pool).remedy;
        ok(*remedy && !strpbrk(without_quoted_url(remedy), "&@")
           && !strstr(without_quoted_url(remedy), "$(x)")
           && !strstr(without_quoted_url(remedy), ";x"), "%s: %s",
           urls[i / 3], remedy);
    }
    exchange->outcome = STAPLE_FETCH_NO_NAME;
}

/* Not one byte from an open connection is not slowness. */
static void test_advice(void)
{
    staple_cache_state_t exchange;
    staple_state_advice_t advice;

    memset(&exchange, 0, sizeof(exchange));
    exchange.last_attempt = NOW;
    exchange.failing = 1;
    exchange.outcome = STAPLE_FETCH_TIMEOUT;
    exchange.connect_took = exchange.wait_took = 0xffff;
    is_str(staple_words_outcome_text(&exchange, pool), "no answer in time",
           "no byte came, whoever found that out");
    advice = staple_state_advise_failure(&exchange, "http://o.test/a?b&c",
                                         pool);
    ok(strstr(advice.remedy, "sends nothing") != NULL, "... and a remedy");
    ok(strstr(advice.remedy, "curl -v 'http://o.test/a?b&c'") != NULL,
       "a command that can be pasted");
    exchange.wait_took = 10;
    advice = staple_state_advise_failure(&exchange, NULL, pool);
    ok(strstr(advice.remedy, "SSLStaplingResponderTimeout") != NULL,
       "it began to answer");
    exchange.outcome = STAPLE_FETCH_NO_NAME;
    advice = staple_state_advise_failure(&exchange, "http://o.test:8080/a",
                                         pool);
    ok(strstr(advice.remedy, "getent hosts o.test;") != NULL,
       "a name is looked up without a port");
    test_pasted(&exchange);
    exchange.failing = 0;
    advice = staple_state_advise_failure(&exchange, NULL, pool);
    is_str(advice.remedy, "", "nothing fails");
}

/* Since when something has been wrong, or all has been well. */
static void test_since(void)
{
    staple_report_t report;
    staple_view_t view;

    make_view(&view, make_cert(NULL));
    staple_words_note_since(&view.exchange, 0, NOW - 10);
    staple_words_note_since(&view.exchange, 0, NOW - 5);
    staple_report_judge(&view, NOW);
    is_int(view.numbers.since, NOW - 10, "well, since that was noted first");
    staple_report_start(&report, "ring", NOW, pool);
    staple_report_add(&report, &view, pool);
    view.numbers.since = NOW - 7;
    staple_report_add(&report, &view, pool);
    staple_report_finish(&report, pool);
    is_int(report.numbers.since, NOW - 7,
           "all are well since the last of them is");

    fail(&view);
    staple_report_judge(&view, NOW);
    is_int(view.numbers.since, 0, "what nobody has noted is not known");
    staple_words_note_since(&view.exchange, 1, NOW - 3);
    staple_report_judge(&view, NOW);
    is_int(view.numbers.since, NOW - 3, "failing, since that was noted");
    staple_report_add(&report, &view, pool);
    view.numbers.since = NOW - 1;
    staple_report_add(&report, &view, pool);
    staple_report_finish(&report, pool);
    is_int(report.numbers.since, NOW - 3,
           "something is wrong since the first of them is");
    ok(strstr(staple_report_since_text(&report, pool),
              "Something has been wrong since 20") != NULL, "in words");

    make_view(&view, make_cert(NULL));
    staple_words_note_since(&view.exchange, 0, NOW - DAY);
    view.meta.next_update = NOW - 1;
    staple_report_judge(&view, NOW);
    ok(view.numbers.since < NOW && view.numbers.since > NOW - DAY,
       "a response that ended: since the last tenth of its validity began");
}

/* A responder is down also where most certificates have another. */
static void test_responders(void)
{
    staple_report_t report;
    staple_view_t view;
    const staple_responder_t *responder;
    int i;

    staple_report_start(&report, "server", NOW, pool);
    for (i = 0; i < 3; i++) {
        make_view(&view, make_cert(i ? "http://two.test/" : NULL));
        staple_words_note_url(&view.exchange, i ? 1 : 0,
                              i ? "http://two.test/" : "http://ocsp.test/");
        if (!i) {
            fail(&view);
        }
        staple_report_judge(&view, NOW);
        staple_report_add(&report, &view, pool);
    }
    staple_report_finish(&report, pool);
    responder = &APR_ARRAY_IDX(report.responders, 0, staple_responder_t);
    is_str(responder->url, "http://ocsp.test/", "the failing one comes first");
    is_int(responder->numbers.certificates, 3, "three name it");
    is_int(responder->numbers.failing, 1, "one fails with it");
    ok(staple_responder_is_down(responder), "it is down");
    responder = &APR_ARRAY_IDX(report.responders, 1, staple_responder_t);
    is_int(responder->numbers.answering, 2, "the other answers for two");
    ok(!staple_responder_is_down(responder), "... and is up");
    responder = &APR_ARRAY_IDX(report.responders, 0, staple_responder_t);
    ok(strstr(staple_report_trouble_text(responder, pool),
              "1 certificate keeps a valid response until 20")
       != NULL, "what that means");
}

/* What is held and may not be served was not dropped. */
static void test_held(void)
{
    staple_view_t view;

    make_view(&view, make_cert(NULL));
    view.meta.this_update = NOW + DAY;
    staple_report_judge(&view, NOW);
    staple_report_explain(&view, NOW, pool);
    is_str(view.cause, "the response that is held is not valid yet",
           "a response from the future");
    make_view(&view, make_cert(NULL));
    view.meta.next_update = NOW - DAY / 2;
    staple_report_judge(&view, NOW);
    staple_report_explain(&view, NOW, pool);
    ok(!strncmp(view.cause, "nothing newer has come; the last response ended ",
                48), "one that has ended") || (diag("%s", view.cause), 0);
}

/* ----- a response with several answers ----- */

typedef struct several_t {
    const char *what;
    int is_known;         /* whether the certificate is, whose serial is 01 */
    int status;           /* as it is kept with the response */
    pki_single_t first, second;
    const char *serial;   /* that is said of the response, in JSON */
    const char *revoked, *reason;
} several_t;

/* What is said of a response is said of the answer for the certificate. */
static void test_answer(const several_t *c, const pki_id_t *ca)
{
    pki_response_t wanted = { .signer = ca,
                              .singles = { c->first, c->second } };
    pki_der_t der = pki_respond(&wanted, pool);
    const char *said;
    staple_view_t view;

    make_view(&view, make_cert(NULL));
    view.cert = c->is_known ? view.cert : NULL;
    view.meta.status = (apr_uint32_t)c->status;
    view.der = der.bytes;
    view.der_len = der.len;
    staple_report_judge(&view, NOW);
    staple_report_explain(&view, NOW, pool);
    said = strstr(json_of(&view), "\"response\"");
    ok(said && strstr(said, apr_psprintf(pool, "\"serial\": %s,", c->serial))
       && strstr(said, apr_psprintf(pool, "\"revoked\": %s,", c->revoked))
       && strstr(said, apr_psprintf(pool, "\"reason\": %s", c->reason)),
       "%s", c->what) || (diag("%s", said ? said : "nothing"), 0);
    ok(c->status != STAPLE_OCSP_REVOKED
       || strstr(view.cause, "the CA revoked it at 2027-01-0"),
       "... and the cause does not deny it") || (diag("%s", view.cause), 0);
}

static void test_several_answers(void)
{
    pki_want_t want_ca = { .name = "CA", .serial = 9,
                           .extensions = { PKI_CA } };
    pki_id_t ca = pki_make(&want_ca, pool);
    pki_want_t want_ours = { .name = "ours", .issuer = &ca, .serial = 1 };
    pki_want_t want_other = { .name = "other", .issuer = &ca, .serial = 2 };
    pki_id_t ours = pki_make(&want_ours, pool);
    pki_id_t other = pki_make(&want_other, pool);
    pki_single_t our_good = { .leaf = &ours, .issuer = &ca };
    pki_single_t our_other = { .leaf = &ours, .issuer = &ca,
                               .hash = EVP_sha256 };
    pki_single_t good = { .leaf = &other, .issuer = &ca };
    pki_single_t our_revoked = { .leaf = &ours, .issuer = &ca,
        .status = V_OCSP_CERTSTATUS_REVOKED, .has_crl_reason = 1,
        .crl_reason = 1, .revoked_at = "20270102000000Z" };
    pki_single_t revoked = { .leaf = &other, .issuer = &ca,
        .status = V_OCSP_CERTSTATUS_REVOKED,
        .revoked_at = "20270103000000Z" };
    const char *ours_at = "\"2027-01-02T00:00:00Z\"";
    const several_t cases[] = {
        { "ours is revoked, behind a good one", 1, STAPLE_OCSP_REVOKED,
          good, our_revoked, "\"01\"", ours_at, "\"keyCompromise\"" },
        { "ours is good, behind a revoked one", 1, STAPLE_OCSP_GOOD,
          revoked, our_good, "\"01\"", "null", "null" },
        { "both are revoked", 1, STAPLE_OCSP_REVOKED,
          revoked, our_revoked, "\"01\"", ours_at, "\"keyCompromise\"" },
        { "unknown which: by its status, revoked", 0, STAPLE_OCSP_REVOKED,
          good, our_revoked, "\"01\"", ours_at, "\"keyCompromise\"" },
        { "unknown which: by its status, good", 0, STAPLE_OCSP_GOOD,
          revoked, our_good, "\"01\"", "null", "null" },
        { "unknown which: two are good", 0, STAPLE_OCSP_GOOD,
          good, our_good, "null", "null", "null" },
        { "two answers for one certificate", 0, STAPLE_OCSP_GOOD,
          our_good, our_other, "\"01\"", "null", "null" }
    };
    apr_size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        test_answer(&cases[i], &ca);
    }
}

int main(void)
{
    int state;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    policy.response_files = apr_array_make(pool, 0, sizeof(const char *));
    for (state = 0; state < STAPLE_STATES; state++) {
        test_state((staple_state_e)state);
    }
    test_expired(STAPLE_STATE_EXPIRING);
    test_expired(STAPLE_STATE_FAILING);
    test_advice();
    test_since();
    test_responders();
    test_held();
    test_several_answers();
    apr_pool_destroy(pool);
    apr_terminate();
    return tap_done();
}
