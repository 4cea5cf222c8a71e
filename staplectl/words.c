/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: the words for values, the same in text and in JSON.
 */

#include "staplectl.h"

#include <apr_strings.h>

#include "staple_words.h"

/* Bytes of an id that are shown: mod_ssl's are SHA-1 fingerprints. */
#define ID_LEN 20

const char *staplectl_verdict_word(staplectl_verdict_e verdict)
{
    switch (verdict) {
    case STAPLECTL_STAPLED:
        return "stapled";
    case STAPLECTL_NEEDLESS:
        return "needless";
    case STAPLECTL_PENDING:
        return "pending";
    case STAPLECTL_WAITING:
        return "waiting";
    case STAPLECTL_ERROR:
        return "error";
    case STAPLECTL_EXPIRED:
        return "expired";
    case STAPLECTL_MISSING:
        return "missing";
    case STAPLECTL_UNTRUE:
        return "untrue";
    case STAPLECTL_REVOKED:
        return "revoked";
    }
    return "unknown";
}

const char *staplectl_time_text(apr_time_t t, apr_pool_t *p)
{
    return t ? staple_words_time_text(t, p) : "never";
}

const char *staplectl_span_text(apr_interval_time_t span, apr_pool_t *p)
{
    apr_int64_t s = apr_time_sec(span);

    if (s < 120) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT "s", s);
    }
    if (s < 7200) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT "min", s / 60);
    }
    return s < 86400
           ? apr_psprintf(p, "%" APR_INT64_T_FMT "h %" APR_INT64_T_FMT "min",
                          s / 3600, s % 3600 / 60)
           : apr_psprintf(p, "%" APR_INT64_T_FMT "d %" APR_INT64_T_FMT "h",
                          s / 86400, s % 86400 / 3600);
}

const char *staplectl_id_text(const unsigned char *id, apr_pool_t *p)
{
    char *text = apr_palloc(p, 3 * ID_LEN);
    int i;

    for (i = 0; i < ID_LEN; i++) {
        apr_snprintf(text + 3 * i, 4, "%02X:", id[i]);
    }
    text[3 * ID_LEN - 1] = '\0';
    return text;
}

const char *staplectl_judgement_text(const staplectl_entry_t *entry,
                                  apr_pool_t *p)
{
    return entry->reason == STAPLE_OCSP_OK
           ? "true, current and about this certificate"
           : apr_pstrcat(p, "the response ",
                         staple_ocsp_reason_text(entry->reason), NULL);
}
