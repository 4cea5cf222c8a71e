/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * For each way in which an exchange can fail: who has to do with it, and a
 * remedy.
 *
 * The one idea: whoever reads it should not have to look anything up to know
 * what to type or whom to call. {url} and {host} in a remedy stand for the
 * responder that was asked, so that a command can be pasted as it is.
 */

#include "staple_state.h"

#include <string.h>

#include <apr_strings.h>

#include "staple_fetch.h"
#include "staple_words.h"

/* What a remedy names where the responder is not known. */
#define SOME_URL "http://RESPONDER/"
#define SOME_HOST "the responder"

typedef struct entry_t {
    int value; /* a staple_fetch_outcome_e or a staple_ocsp_reason_e */
    staple_state_advice_t advice;
} entry_t;

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
    { STAPLE_FETCH_BAD_URL, { "the certificate",
      "it names a URL that is not http://; set SSLStaplingForceURL to the "
      "responder's http:// URL" } },
    { STAPLE_FETCH_DENIED, { CONFIGURATION,
      "StapleDenyResponder denies the responder's address; take that address "
      "out of it, if it may be asked" } },
    { STAPLE_FETCH_NO_NAME, { "the name service",
      "run: getent hosts {name}; if that prints nothing, check "
      "/etc/resolv.conf" } },
    { STAPLE_FETCH_REFUSED, { "the responder, or a firewall that rejects",
      "run: curl -I {url}; if that is refused as well, " LET_OUT } },
    { STAPLE_FETCH_UNREACHABLE, { "the network",
      "run: ip route; if this server has no way out, set SSLOCSPProxyURL" } },
    { STAPLE_FETCH_CONNECT_TIMEOUT,
      { "the network, often a firewall that drops packets",
        ASK "; if that hangs as well, " LET_OUT } },
    { STAPLE_FETCH_TIMEOUT, { RESPONDER,
      "it begins to answer and does not end in time; give it more time with "
      "SSLStaplingResponderTimeout" } },
    { STAPLE_FETCH_RESET, { BETWEEN, ASK } },
    { STAPLE_FETCH_NOT_HTTP, { BETWEEN, ASK } },
    { STAPLE_FETCH_HTTP_STATUS, { BETWEEN, ASK "; " TELL_CA } },
    { STAPLE_FETCH_TOO_LARGE, { BETWEEN, ASK } },
    { STAPLE_FETCH_TRUNCATED, { BETWEEN, ASK } },
    { STAPLE_FETCH_BAD_REDIRECT, { BETWEEN, ASK } },
    { STAPLE_FETCH_STOPPED, { SERVER,
      "it was restarting; it asks again by itself" } },
    { STAPLE_FETCH_SYSTEM, { SERVER,
      "it lacks memory or file descriptors; run: ulimit -n; then read the "
      "error log" } },
    { -1, { "", "" } }
};

static const entry_t reasons[] = {
    { STAPLE_OCSP_NOT_DER, { BETWEEN, ASK } },
    { STAPLE_OCSP_TRAILING, { BETWEEN, ASK } },
    { STAPLE_OCSP_MALFORMED_REQUEST, { RESPONDER,
      "set StapleCertIDHash sha256; if that does not help, tell the CA" } },
    { STAPLE_OCSP_INTERNAL_ERROR, { RESPONDER, TELL_CA } },
    { STAPLE_OCSP_TRY_LATER, { RESPONDER, TELL_CA } },
    { STAPLE_OCSP_SIG_REQUIRED, { CA,
      "its responder wants signed requests, which no server sends; tell the "
      "CA" } },
    { STAPLE_OCSP_UNAUTHORIZED, { CA,
      "its responder does not know the certificate; wait an hour if it was "
      "just issued, else check SSLStaplingForceURL" } },
    { STAPLE_OCSP_STATUS_OTHER, { RESPONDER, TELL_CA } },
    { STAPLE_OCSP_NOT_BASIC, { RESPONDER, TELL_CA } },
    { STAPLE_OCSP_CRITICAL_EXT, { CA, "tell the CA" } },
    { STAPLE_OCSP_OTHER_CERT, { RESPONDER, CHAIN } },
    { STAPLE_OCSP_NO_SIGNER, { CA, CHAIN } },
    { STAPLE_OCSP_WEAK_SIGNATURE, { CA,
      "clients do not trust such a signature either; tell the CA" } },
    { STAPLE_OCSP_BAD_SIGNATURE, { BETWEEN, CHAIN } },
    { STAPLE_OCSP_SIGNER_NOT_ISSUED, { CA, CHAIN } },
    { STAPLE_OCSP_SIGNER_NO_EKU, { CA, "tell the CA" } },
    { STAPLE_OCSP_SIGNER_EXPIRED, { CA, CLOCK } },
    { STAPLE_OCSP_SIGNER_NOT_YET, { CA, CLOCK } },
    { STAPLE_OCSP_BAD_TIMES, { CA, "tell the CA" } },
    { STAPLE_OCSP_NOT_YET_VALID, { "the CA, or this server's clock", CLOCK } },
    { STAPLE_OCSP_EXPIRED, { "the CA, or this server's clock", CLOCK } },
    { STAPLE_OCSP_TOO_OLD, { "the CA, or this server's configuration",
      "SSLStaplingResponseMaxAge is shorter than the age of what the "
      "responder gives; raise it" } },
    { -1, { CA, "its responder says that it does not know the certificate; "
                "wait an hour if it was just issued, else check that the "
                "issuer in the chain is the right one" } }
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
        "have a new one issued, or, if the CA only holds it (certificateHold), "
        "have it lift the hold; clients that check refuse this one" },
    [STAPLE_STATE_INVALID] = { "what is held or was sent",
        "compare the chain in SSLCertificateFile with that of the CA, then "
        "run: staplectl refresh --all" },
    [STAPLE_STATE_NO_ROOM] = { CONFIGURATION,
        "raise the size in SSLStaplingCache, or set StapleCacheGrow on" },
    [STAPLE_STATE_TOO_OLD] = { CA,
        "ask the CA to sign its responses anew at least every "
        "five days, or set StapleMaxAge if no client minds" },
    [STAPLE_STATE_PENDING] = { SERVER, "wait a moment" },
    [STAPLE_STATE_WAITING] = { SERVER,
        "wait a moment; if nothing changes, read the error log" }
};

/* Where the exchanges do not fail and the state is bad all the same. */
static const staple_state_advice_t nothing_newer = { RESPONDER,
    "it gives only a response that soon ends; it is asked again in time, but "
    "tell the CA"
};

static const staple_state_advice_t *find_advice(const entry_t *entry,
                                                int value)
{
    while (entry->value != value && entry->value != -1) {
        entry++;
    }
    return &entry->advice;
}

static const staple_state_advice_t *
advice_of_failure(const staple_cache_state_t *exchange)
{
    staple_words_phases_t phases;

    if (exchange->outcome == STAPLE_FETCH_REJECTED) {
        return find_advice(reasons, staple_words_reason(exchange));
    }
    staple_words_phases(exchange, &phases);
    if (exchange->outcome == STAPLE_FETCH_TIMEOUT && phases.wait < 0) {
        return &silent;
    }
    return find_advice(outcomes, exchange->outcome);
}

/* ----- the responder's name in it ----- */

/* The host of "http://host:port/path", with its port if that is named. */
static const char *host_of(const char *url, apr_pool_t *p)
{
    const char *start = strstr(url, "://");
    const char *end;

    if (!start) {
        return SOME_HOST;
    }
    start += 3;
    end = start + strcspn(start, "/?#");
    return end > start ? apr_pstrmemdup(p, start, (apr_size_t)(end - start))
                       : SOME_HOST;
}

/* The same without the port: "[2001:db8::1]:80" is an address in brackets. */
static const char *name_of(const char *url, apr_pool_t *p)
{
    const char *host = host_of(url, p);

    return *host == '[' ? apr_pstrmemdup(p, host + 1, strcspn(host + 1, "]"))
                        : apr_pstrmemdup(p, host, strcspn(host, ":"));
}

/* A URL as one word of a shell. */
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

static staple_state_advice_t fill_in(const staple_state_advice_t *advice,
                                     const char *url, apr_pool_t *p)
{
    staple_state_advice_t filled = *advice;

    if (strchr(filled.remedy, '{')) {
        filled.remedy = replace(filled.remedy, "{url}",
                                url ? shell_word(url, p) : SOME_URL, p);
        filled.remedy = replace(filled.remedy, "{host}",
                                url ? host_of(url, p) : SOME_HOST, p);
        filled.remedy = replace(filled.remedy, "{name}",
                                url ? name_of(url, p) : "RESPONDER", p);
    }
    return filled;
}

/* ----- what is asked ----- */

staple_state_advice_t staple_state_advise_failure(
    const staple_cache_state_t *exchange, const char *url, apr_pool_t *p)
{
    static const staple_state_advice_t none = { "", "" };

    return fill_in(exchange && exchange->failing ? advice_of_failure(exchange)
                                                 : &none, url, p);
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
