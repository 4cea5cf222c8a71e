/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The words of the status page: verdicts, times, and for each way in which an
 * exchange can end, whose fault that is and what to do about it.
 *
 * The one idea: an administrator who reads a line of the page should not have
 * to look anything up to know whom to call.
 */

#include "status_int.h"

#include <apr_strings.h>

typedef struct blame_t {
    int value; /* a staple_fetch_outcome_e or a staple_ocsp_reason_e */
    const char *fault;
    const char *advice;
} blame_t;

#define RESPONDER "the responder"
#define CA "the CA"
#define NETWORK "the network"
#define HERE "this server"
#define BETWEEN "the responder, or a proxy or portal on the way"

#define TELL_CA "it should pass by itself; tell the CA if it does not"
#define CURL "ask the responder from this host with curl and see who answers"
#define CLOCK "compare this server's clock with another; if it is right, " \
              "tell the CA"
#define CHAIN "see that the issuer in SSLCertificateFile or " \
              "SSLCertificateChainFile is the right one, then tell the CA"

static const blame_t outcomes[] = {
    { STAPLE_FETCH_BAD_URL, "the certificate",
      "only http:// URLs can be asked; set SSLStaplingForceURL" },
    { STAPLE_FETCH_DENIED, "this server's configuration",
      "StapleDenyResponder denies its address; allow it if it may be asked" },
    { STAPLE_FETCH_NO_NAME, "the name service",
      "resolve the responder's name on this host (getent hosts NAME); look "
      "at /etc/resolv.conf" },
    { STAPLE_FETCH_REFUSED, "the responder, or a firewall that rejects",
      "connect to it from this host with curl; let out what the firewall "
      "stops, or set SSLOCSPProxyURL" },
    { STAPLE_FETCH_UNREACHABLE, NETWORK,
      "look at this host's routes; if it has no way out, set "
      "SSLOCSPProxyURL" },
    { STAPLE_FETCH_CONNECT_TIMEOUT, "the network, often a firewall that drops",
      "let this host connect to the responder, or set SSLOCSPProxyURL" },
    { STAPLE_FETCH_TIMEOUT, RESPONDER,
      "it is slow; SSLStaplingResponderTimeout gives it more time" },
    { STAPLE_FETCH_RESET, BETWEEN, CURL },
    { STAPLE_FETCH_NOT_HTTP, BETWEEN, CURL },
    { STAPLE_FETCH_HTTP_STATUS, BETWEEN, CURL "; " TELL_CA },
    { STAPLE_FETCH_TOO_LARGE, BETWEEN, CURL },
    { STAPLE_FETCH_TRUNCATED, BETWEEN, CURL },
    { STAPLE_FETCH_BAD_REDIRECT, BETWEEN, CURL },
    { STAPLE_FETCH_STOPPED, HERE,
      "it was restarting; the next exchange comes by itself" },
    { STAPLE_FETCH_SYSTEM, HERE,
      "look at its memory and file descriptors, and at the error log" },
    { -1, "", "" }
};

static const blame_t reasons[] = {
    { STAPLE_OCSP_NOT_DER, BETWEEN, CURL },
    { STAPLE_OCSP_TRAILING, BETWEEN, CURL },
    { STAPLE_OCSP_MALFORMED_REQUEST, RESPONDER,
      "tell the CA; StapleCertIDHash may make it content" },
    { STAPLE_OCSP_INTERNAL_ERROR, RESPONDER, TELL_CA },
    { STAPLE_OCSP_TRY_LATER, RESPONDER, TELL_CA },
    { STAPLE_OCSP_SIG_REQUIRED, CA,
      "it wants signed requests, which no server sends; tell the CA" },
    { STAPLE_OCSP_UNAUTHORIZED, CA,
      "it does not know the certificate yet (just issued?), or it is the "
      "wrong responder: look at SSLStaplingForceURL" },
    { STAPLE_OCSP_STATUS_OTHER, RESPONDER, TELL_CA },
    { STAPLE_OCSP_NOT_BASIC, RESPONDER, TELL_CA },
    { STAPLE_OCSP_CRITICAL_EXT, CA, "tell the CA" },
    { STAPLE_OCSP_OTHER_CERT, RESPONDER, CHAIN },
    { STAPLE_OCSP_NO_SIGNER, CA, CHAIN },
    { STAPLE_OCSP_WEAK_SIGNATURE, CA,
      "tell the CA; clients would not trust such a signature either" },
    { STAPLE_OCSP_BAD_SIGNATURE, BETWEEN, CHAIN },
    { STAPLE_OCSP_SIGNER_NOT_ISSUED, CA, CHAIN },
    { STAPLE_OCSP_SIGNER_NO_EKU, CA, "tell the CA" },
    { STAPLE_OCSP_SIGNER_EXPIRED, CA, CLOCK },
    { STAPLE_OCSP_SIGNER_NOT_YET, CA, CLOCK },
    { STAPLE_OCSP_BAD_TIMES, CA, "tell the CA" },
    { STAPLE_OCSP_NOT_YET_VALID, "the CA, or this server's clock", CLOCK },
    { STAPLE_OCSP_EXPIRED, "the CA, or this server's clock", CLOCK },
    { STAPLE_OCSP_TOO_OLD, "the CA, or this server's configuration",
      "SSLStaplingResponseMaxAge is shorter than the age of what the "
      "responder gives" },
    { STAPLE_OCSP_CONTRADICTS, CA, "tell the CA; clients would not agree in "
      "which of the two answers they believe" },
    { -1, CA, "the CA says that it does not know the certificate: just "
              "issued, or the wrong issuer; tell the CA" }
};

static const blame_t *find_blame(const blame_t *blame, int value)
{
    while (blame->value != value && blame->value != -1) {
        blame++;
    }
    return blame;
}

void staple_status_blame(const staple_cache_state_t *state,
                         const char **fault, const char **advice)
{
    const blame_t *blame;

    *fault = *advice = "";
    if (!state->failing) {
        return;
    }
    blame = state->outcome == STAPLE_FETCH_REJECTED
            ? find_blame(reasons, staple_words_reason(state))
            : find_blame(outcomes, state->outcome);
    *fault = blame->fault;
    *advice = blame->advice;
}

static const struct {
    const char *name;
    const char *text;
    int needs_attention;
    const char *colour;
} verdicts[VERDICTS] = {
    { "refused", "missing, clients refuse", 1, "bad" },
    { "revoked", "revoked", 1, "bad" },
    { "expiring", "expiring", 1, "bad" },
    { "missing", "missing", 1, "bad" },
    { "no_room", "no room", 1, "bad" },
    { "failing", "stapled, failing", 1, "warn" },
    { "stapled", "stapled", 0, "good" },
    { "not_applicable", "not applicable", 0, "none" }
};

const char *staple_status_verdict_name(verdict_e verdict)
{
    return verdicts[verdict].name;
}

const char *staple_status_verdict_text(verdict_e verdict)
{
    return verdicts[verdict].text;
}

int staple_status_needs_attention(verdict_e verdict)
{
    return verdicts[verdict].needs_attention;
}

const char *staple_status_colour(verdict_e verdict)
{
    return verdicts[verdict].colour;
}

const char *staple_status_summary(const moment_t *moment, apr_pool_t *p)
{
    apr_int64_t all = moment->numbers.certificates;
    apr_int64_t attention = moment->numbers.attention;
    int others = moment->verdicts[VERDICT_NOT_APPLICABLE];

    if (!all) {
        return "No certificate is to be stapled.";
    }
    if (attention) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT " of %" APR_INT64_T_FMT
                            " certificate%s need%s attention.", attention, all,
                            all == 1 ? "" : "s", attention == 1 ? "s" : "");
    }
    if (all == others) {
        return "OCSP applies to none of the certificates.";
    }
    if (others) {
        return apr_psprintf(p, "All %" APR_INT64_T_FMT " certificates that "
                            "OCSP applies to are stapled.", all - others);
    }
    return all == 1 ? "The certificate is stapled."
           : apr_psprintf(p, "All %" APR_INT64_T_FMT " certificates are "
                          "stapled.", all);
}

/* ----- the share ----- */

const char *staple_status_share_error(apr_status_t status, apr_pool_t *p)
{
    char text[120];

    if (APR_STATUS_IS_TIMEUP(status)) {
        return "it took too long";
    }
    return status == APR_EGENERAL
           ? "it failed, and the provider does not say why"
           : apr_pstrdup(p, apr_strerror(status, text, sizeof(text)));
}

const char *staple_status_share_text(const moment_t *moment, apr_pool_t *p)
{
    const share_numbers_t *numbers = &moment->share_numbers;
    const char *error = "";

    if (!numbers->since) {
        return "not used yet";
    }
    if (moment->share_error) {
        error = apr_pstrcat(p, "; last error ",
                            staple_status_distance(numbers->last_error,
                                                   moment->now, p), ": ",
                            moment->share_error, NULL);
    }
    return apr_pstrcat(p, numbers->silent ? "it has not answered since "
                                          : "in use since ",
                       staple_words_time_text(numbers->since, p), error, NULL);
}

/* ----- times ----- */

const char *staple_status_distance(apr_time_t t, apr_time_t now, apr_pool_t *p)
{
    if (!t) {
        return "never";
    }
    if (t - now >= apr_time_from_sec(1)) {
        return apr_pstrcat(p, "in ", staple_words_span_text(t - now, p), NULL);
    }
    return now - t < apr_time_from_sec(1)
           ? "now" : apr_pstrcat(p, staple_words_span_text(now - t, p), " ago",
                                NULL);
}
