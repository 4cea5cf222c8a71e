/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: the words for values, the same in text and in JSON.
 */

#include "staplectl.h"

#include <apr_strings.h>

#include "staple_text.h"
#include "staple_words.h"

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

const char *staplectl_id_text(const unsigned char *id, apr_pool_t *p)
{
    return staple_text_fingerprint(id, STAPLE_ID_SSL_LEN, p);
}

const char *staplectl_judgement_text(const staplectl_entry_t *entry,
                                  apr_pool_t *p)
{
    return entry->reason == STAPLE_OCSP_OK
           ? "true, current and about this certificate"
           : apr_pstrcat(p, "the response ",
                         staple_ocsp_reason_text(entry->reason), NULL);
}
