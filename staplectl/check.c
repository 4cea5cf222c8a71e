/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: how bad is it? An entry becomes one of the severities that
 * monitoring plug-ins know, and the words that go with it.
 *
 * The one idea: a failed attempt is no trouble, for the server tries again;
 * too little time left is. What is left is measured against a limit, a span or
 * a part of the response's validity, because validities lie between hours and
 * weeks.
 */

#include "staplectl.h"

#include <apr_lib.h>
#include <apr_strings.h>

#include "staple_words.h"

/* The longest span that makes sense: ten years. */
#define SPAN_MAX ((apr_int64_t)315360000)

int staplectl_limit_parse(staplectl_limit_t *limit, const char *text)
{
    static const struct {
        const char *unit;
        int seconds;
    } units[] = { { "", 1 }, { "s", 1 }, { "m", 60 }, { "min", 60 },
                  { "h", 3600 }, { "d", 86400 } };
    apr_int64_t number;
    apr_size_t i;
    char *end;

    number = apr_isdigit(*text) ? apr_strtoi64(text, &end, 10) : -1;
    if (number < 0 || number > SPAN_MAX) {
        return 0;
    }
    if (!strcmp(end, "%")) {
        limit->span = 0;
        limit->percent = (int)number;
        return number <= 100;
    }
    for (i = 0; i < sizeof(units) / sizeof(*units); i++) {
        if (!strcmp(end, units[i].unit)
            && number <= SPAN_MAX / units[i].seconds) {
            limit->span = apr_time_from_sec(number * units[i].seconds);
            limit->percent = -1;
            return 1;
        }
    }
    return 0;
}

static int is_below(const staplectl_limit_t *limit,
                    const staplectl_entry_t *entry, apr_time_t now)
{
    apr_interval_time_t left = entry->until - now;
    apr_interval_time_t whole = entry->until - entry->meta.this_update;

    return limit->percent < 0 ? left < limit->span
                              : left < whole / 100 * limit->percent;
}

/* What the last exchange has to do with it, if it failed. */
static const char *cause_text(const staplectl_entry_t *entry, apr_pool_t *p)
{
    const staple_cache_state_t *state = &entry->state;
    const char *peer = staple_words_peer_text(state, p);

    if (!entry->has_state || !state->failing) {
        return "";
    }
    return apr_psprintf(p, "; %u attempt%s failed in a row, the last at "
                        "%s%s%s: %s", (unsigned)state->failing,
                        state->failing == 1 ? "" : "s",
                        staplectl_time_text(state->last_attempt, p),
                        *peer ? " with " : "", peer,
                        staple_words_outcome_text(state, p));
}

static staplectl_exit_e check_time(const staplectl_entry_t *entry,
                                   const staplectl_limits_t *limits,
                                   apr_time_t now, const char **words,
                                   apr_pool_t *p)
{
    *words = apr_psprintf(p, "stapled, for another %s%s",
                          staple_words_span_text(entry->until - now, p),
                          cause_text(entry, p));
    return is_below(&limits->critical, entry, now) ? STAPLECTL_CRITICAL
           : is_below(&limits->warning, entry, now) ? STAPLECTL_WARNING
           : STAPLECTL_OK;
}

static const char *revoked_text(const staplectl_entry_t *entry, apr_pool_t *p)
{
    return entry->response && entry->response->revoked_at
           ? apr_psprintf(p, "revoked at %s (reason: %s); clients refuse it",
                          staplectl_time_text(entry->response->revoked_at, p),
                          staple_ocsp_crl_reason_text(
                              entry->response->crl_reason))
           : "revoked; clients refuse it";
}

static const char *missing_text(const staplectl_entry_t *entry, apr_pool_t *p)
{
    return apr_pstrcat(p, entry->cert && entry->cert->is_must_staple
                       ? "nothing is stapled and the certificate is "
                         "must-staple: clients refuse it"
                       : "nothing is stapled", cause_text(entry, p), NULL);
}

staplectl_exit_e staplectl_check(const staplectl_entry_t *entry,
                                 const staplectl_limits_t *limits,
                                 apr_time_t now, const char **words,
                                 apr_pool_t *p)
{
    switch (entry->verdict) {
    case STAPLECTL_STAPLED:
        return check_time(entry, limits, now, words, p);
    case STAPLECTL_NEEDLESS:
        *words = apr_pstrcat(p, "nothing to staple: ",
                             staple_cert_scope_text(entry->cert->scope), NULL);
        return entry->cert->is_must_staple ? STAPLECTL_CRITICAL : STAPLECTL_OK;
    case STAPLECTL_PENDING:
        *words = "a response of before the start waits to be verified";
        return STAPLECTL_WARNING;
    case STAPLECTL_WAITING:
        *words = "no responder has been asked yet";
        return STAPLECTL_WARNING;
    case STAPLECTL_ERROR:
        *words = apr_pstrcat(p, "an error is stapled, which clients refuse",
                             cause_text(entry, p), NULL);
        return STAPLECTL_CRITICAL;
    case STAPLECTL_EXPIRED:
        *words = apr_psprintf(p, "the response ended at %s%s",
                              staplectl_time_text(entry->until, p),
                              cause_text(entry, p));
        return STAPLECTL_CRITICAL;
    case STAPLECTL_UNTRUE:
        *words = apr_pstrcat(p, "the response ",
                             staple_ocsp_reason_text(entry->reason), NULL);
        return STAPLECTL_CRITICAL;
    case STAPLECTL_REVOKED:
        *words = revoked_text(entry, p);
        return STAPLECTL_CRITICAL;
    case STAPLECTL_MISSING:
        break;
    }
    *words = missing_text(entry, p);
    return STAPLECTL_CRITICAL;
}
