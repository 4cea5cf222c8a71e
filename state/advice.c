/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * For each way in which an exchange can fail: who has to do with it, and a
 * remedy.
 *
 * The one idea: whoever reads it should not have to look anything up to know
 * what to type or whom to call. {url}, {host} and {name} in a remedy stand for
 * the responder that was asked, so that a command can be pasted as it is. Where
 * its URL is not known (a ring has the address that was asked, and no URL), the
 * remedy says how the certificate's file tells it.
 */

#include "staple_state.h"

#include <string.h>

#include <apr_strings.h>

#include "staple_fetch.h"
#include "staple_url.h"
#include "staple_words.h"

/* What a remedy names where the responder's URL is not known. */
#define URL_COMMAND "openssl x509 -noout -ocsp_uri -in CERT.pem"
#define SOME_URL "URL, with a URL that this prints: " URL_COMMAND
#define SOME_NAME "HOST, with the host of what this prints: " URL_COMMAND
#define SOME_HOST "the responder"

typedef struct entry_t {
    int value; /* a staple_fetch_outcome_e or a staple_ocsp_reason_e */
    const char *name; /* for programs */
    staple_state_advice_t advice;
} entry_t;

/* Kinds of failures, which are kept in files: outcomes as they are, and behind
 * them the reasons why a response is not believed. Never renumber. */
#define REASONS_FROM 20

_Static_assert(STAPLE_FETCH_NOT_MODIFIED < REASONS_FROM, "outcomes have room");
_Static_assert(REASONS_FROM + STAPLE_OCSP_CONTRADICTS < STAPLE_CACHE_FAILURES,
               "reasons have room");

#define RESPONDER "the responder"
#define CA "the CA"
#define SERVER "this server"
#define CONFIGURATION "this server's configuration"
#define BETWEEN "the responder, or a proxy or portal on the way"

#define ASK "run: curl -v {url}"
#define TELL_CA "tell the CA if it goes on"
#define LET_OUT "allow outbound TCP to {host} in the firewall, or set " \
                "SSLOCSPProxyURL"
#define CLOCK "compare this server's clock with another (run: date -u); if " \
              "it is right, tell the CA"
#define CHAIN "check that the issuer in SSLCertificateFile or " \
              "SSLCertificateChainFile is the right one; if it is, tell the CA"

static const entry_t outcomes[] = {
    { STAPLE_FETCH_BAD_URL, "bad_url",
      { "the certificate",
        "it names a URL that is not http://; set SSLStaplingForceURL to the "
        "responder's http:// URL" } },
    { STAPLE_FETCH_DENIED, "address_denied",
      { CONFIGURATION,
        "if the responder's address may be asked, take it out of "
        "StapleDenyResponder; where it is denied by default, name the "
        "responder in SSLStaplingForceURL" } },
    { STAPLE_FETCH_NO_NAME, "name_not_resolved",
      { "the name service",
        "run: getent hosts {name}; if that prints nothing, check "
        "/etc/resolv.conf" } },
    { STAPLE_FETCH_REFUSED, "connection_refused",
      { "the responder, or a firewall that rejects",
        "run: curl -I {url}; if that is refused as well, " LET_OUT } },
    { STAPLE_FETCH_UNREACHABLE, "unreachable",
      { "the network",
        "run: ip route; if this server has no way out, set SSLOCSPProxyURL" } },
    { STAPLE_FETCH_CONNECT_TIMEOUT, "connect_timeout",
      { "the network, often a firewall that drops packets",
        ASK "; if that hangs as well, " LET_OUT } },
    { STAPLE_FETCH_TIMEOUT, "timeout",
      { RESPONDER,
        "it begins to answer and does not end in time; give it more time with "
        "SSLStaplingResponderTimeout" } },
    { STAPLE_FETCH_RESET, "connection_reset", { BETWEEN, ASK } },
    { STAPLE_FETCH_NOT_HTTP, "not_http", { BETWEEN, ASK } },
    { STAPLE_FETCH_HTTP_STATUS, "http_status", { BETWEEN, ASK "; " TELL_CA } },
    { STAPLE_FETCH_TOO_LARGE, "too_large", { BETWEEN, ASK } },
    { STAPLE_FETCH_TRUNCATED, "truncated", { BETWEEN, ASK } },
    { STAPLE_FETCH_BAD_REDIRECT, "bad_redirect", { BETWEEN, ASK } },
    { STAPLE_FETCH_STOPPED, "interrupted",
      { SERVER,
        "it was restarting; it asks again by itself" } },
    { STAPLE_FETCH_SYSTEM, "server_resources",
      { SERVER,
        "it lacks memory or file descriptors; run: ulimit -n; then read the "
        "error log" } },
    { -1, NULL, { "", "" } }
};

static const entry_t reasons[] = {
    { STAPLE_OCSP_NOT_DER, "not_ocsp", { BETWEEN, ASK } },
    { STAPLE_OCSP_TRAILING, "trailing_bytes", { BETWEEN, ASK } },
    { STAPLE_OCSP_MALFORMED_REQUEST, "malformed_request",
      { RESPONDER,
        "set StapleCertIDHash sha256; if that does not help, tell the CA" } },
    { STAPLE_OCSP_INTERNAL_ERROR, "internal_error", { RESPONDER, TELL_CA } },
    { STAPLE_OCSP_TRY_LATER, "try_later", { RESPONDER, TELL_CA } },
    { STAPLE_OCSP_SIG_REQUIRED, "sig_required",
      { CA,
        "its responder wants signed requests, which no server sends; tell the "
        "CA" } },
    { STAPLE_OCSP_UNAUTHORIZED, "unauthorized",
      { CA,
        "its responder does not know the certificate; wait an hour if it was "
        "just issued, else check SSLStaplingForceURL" } },
    { STAPLE_OCSP_STATUS_OTHER, "undefined_status", { RESPONDER, TELL_CA } },
    { STAPLE_OCSP_NOT_BASIC, "not_basic", { RESPONDER, TELL_CA } },
    { STAPLE_OCSP_CRITICAL_EXT, "critical_extension", { CA, "tell the CA" } },
    { STAPLE_OCSP_OTHER_CERT, "other_certificate", { RESPONDER, CHAIN } },
    { STAPLE_OCSP_NO_SIGNER, "no_signer", { CA, CHAIN } },
    { STAPLE_OCSP_WEAK_SIGNATURE, "weak_signature",
      { CA,
        "clients do not trust such a signature either; tell the CA" } },
    { STAPLE_OCSP_BAD_SIGNATURE, "bad_signature", { BETWEEN, CHAIN } },
    { STAPLE_OCSP_SIGNER_NOT_ISSUED, "signer_not_issued", { CA, CHAIN } },
    { STAPLE_OCSP_SIGNER_NO_EKU, "signer_no_eku", { CA, "tell the CA" } },
    { STAPLE_OCSP_SIGNER_EXPIRED, "signer_expired", { CA, CLOCK } },
    { STAPLE_OCSP_SIGNER_NOT_YET, "signer_not_yet_valid", { CA, CLOCK } },
    { STAPLE_OCSP_BAD_TIMES, "bad_times", { CA, "tell the CA" } },
    { STAPLE_OCSP_NOT_YET_VALID, "response_not_yet_valid",
      { "the CA, or this server's clock", CLOCK } },
    { STAPLE_OCSP_EXPIRED, "response_expired",
      { "the CA, or this server's clock", CLOCK } },
    { STAPLE_OCSP_TOO_OLD, "older_than_max_age",
      { "the CA, or this server's configuration",
        "SSLStaplingResponseMaxAge is shorter than the age of what the "
        "responder gives; increase it" } },
    { STAPLE_OCSP_CONTRADICTS, "contradictory", { CA, "tell the CA" } },
    { STAPLE_OCSP_OK, "unknown_certificate",
      { CA, "its responder says that it does not know the certificate; wait "
            "an hour if it was just issued, else check that the issuer in the "
            "chain is the right one" } },
    { -1, NULL, { "", "" } }
};

/* A connection that was taken and on which not one byte came is no slow
 * responder: more time would not help. */
static const staple_state_advice_t silent = {
    "the responder, or what stands before it",
    "it takes connections and sends nothing; " ASK "; if that hangs as well, "
    "tell the CA"
};

/* What a state asks for, whatever the last exchange said. */
static const staple_state_advice_t of_states[STAPLE_STATES] = {
    [STAPLE_STATE_REVOKED] = { "the certificate",
        "get a new one, or, if the CA only holds it (certificateHold), "
        "ask the CA to lift the hold; clients that check refuse this one" },
    [STAPLE_STATE_INVALID] = { "what is held or was sent",
        "compare the chain in SSLCertificateFile with that of the CA, then "
        "run: staplectl refresh --all" },
    [STAPLE_STATE_NO_ROOM] = { CONFIGURATION,
        "raise the size in SSLStaplingCache, or set StapleCacheGrow on" },
    [STAPLE_STATE_TOO_OLD] = { CA,
        "ask the CA to sign its responses anew at least every five days, or "
        "set StapleMaxAge if none of your visitors uses Firefox" },
    [STAPLE_STATE_PENDING] = { SERVER, "wait a moment" },
    [STAPLE_STATE_WAITING] = { SERVER,
        "wait a moment; if nothing changes, read the error log" }
};

/* Where the exchanges do not fail and the state is bad all the same. */
static const staple_state_advice_t nothing_newer = { RESPONDER,
    "it gives only a response that soon ends; it is asked again in time, but "
    "tell the CA"
};

static const entry_t *find_entry(const entry_t *entry, int value)
{
    while (entry->value != value && entry->value != -1) {
        entry++;
    }
    return entry;
}

/* ----- kinds of failures ----- */

unsigned int staple_state_failure(const staple_cache_state_t *exchange)
{
    if (!exchange->failing) {
        return 0;
    }
    return exchange->outcome == STAPLE_FETCH_REJECTED
           ? REASONS_FROM + (unsigned int)staple_words_reason(exchange)
           : exchange->outcome;
}

const char *staple_state_failure_name(unsigned int kind)
{
    return kind < REASONS_FROM
           ? find_entry(outcomes, (int)kind)->name
           : find_entry(reasons, (int)kind - REASONS_FROM)->name;
}

/* ----- what to do ----- */

static const staple_state_advice_t *
advice_of_failure(const staple_cache_state_t *exchange)
{
    staple_words_phases_t phases;

    if (exchange->outcome == STAPLE_FETCH_REJECTED) {
        return &find_entry(reasons, staple_words_reason(exchange))->advice;
    }
    staple_words_phases(exchange, &phases);
    if (exchange->outcome == STAPLE_FETCH_TIMEOUT && phases.wait < 0) {
        return &silent;
    }
    return &find_entry(outcomes, exchange->outcome)->advice;
}

/* ----- the responder's name in it ----- */

/* A URL as one word of a shell. It is anybody's who has a certificate here; a
 * host that staple_url_parse took is such a word as it is. */
static const char *shell_word(const char *url, apr_pool_t *p)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/._-%[]";

    if (!url[strspn(url, plain)]) {
        return url;
    }
    return strchr(url, '\'') ? SOME_URL : apr_pstrcat(p, "'", url, "'", NULL);
}

static const char *replace(const char *text, const char *what,
                           const char *with, apr_pool_t *p)
{
    const char *at = strstr(text, what);

    return at ? apr_pstrcat(p, apr_pstrmemdup(p, text,
                                              (apr_size_t)(at - text)),
                            with, at + strlen(what), NULL)
              : text;
}

/* The address that was asked, where the URL is not known. */
static const char *some_host(const staple_cache_state_t *exchange,
                             apr_pool_t *p)
{
    const char *peer = exchange ? staple_words_peer_text(exchange, p) : "";

    return *peer ? peer : SOME_HOST;
}

static staple_state_advice_t fill_in(const staple_state_advice_t *advice,
                                     const staple_cache_state_t *exchange,
                                     const char *url, apr_pool_t *p)
{
    staple_state_advice_t filled = *advice;
    staple_url_t asked;
    int is_known;

    if (strchr(filled.remedy, '{')) {
        is_known = url && staple_url_parse(&asked, url, p) == STAPLE_URL_OK;
        filled.remedy = replace(filled.remedy, "{url}",
                                is_known ? shell_word(asked.text, p)
                                         : SOME_URL, p);
        filled.remedy = replace(filled.remedy, "{host}",
                                is_known ? asked.authority
                                         : some_host(exchange, p), p);
        filled.remedy = replace(filled.remedy, "{name}",
                                is_known ? asked.host : SOME_NAME, p);
    }
    return filled;
}

/* ----- what is asked ----- */

staple_state_advice_t staple_state_advise_failure(
    const staple_cache_state_t *exchange, const char *url, apr_pool_t *p)
{
    static const staple_state_advice_t none = { "", "" };

    return fill_in(exchange && exchange->failing ? advice_of_failure(exchange)
                                                 : &none, exchange, url, p);
}

staple_state_advice_t staple_state_advise(staple_state_e state,
                                          const staple_cache_state_t *exchange,
                                          const char *url, apr_pool_t *p)
{
    staple_state_advice_t advice = { "", "" };

    if (!staple_state_needs_attention(state)) {
        return advice;
    }
    if (of_states[state].who) {
        return of_states[state];
    }
    advice = staple_state_advise_failure(exchange, url, p);
    return state == STAPLE_STATE_EXPIRING && !*advice.who ? nothing_newer
                                                          : advice;
}
