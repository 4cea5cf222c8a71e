/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Fuzz target: the query of the status page, which any client may send. It is
 * understood completely, or refused with words.
 *
 * What it needs of httpd stands here: one function with its rules, and one that
 * need not do anything.
 */

#include "../../status/status_int.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* "+" is a blank, "%41" a byte; what is no such code, or a NUL or a slash, is
 * an error. */
AP_DECLARE(int) ap_unescape_urlencoded(char *query)
{
    char *to = query;

    for (; *query; query++) {
        char digits[3] = { 0 };

        if (*query != '%') {
            *to++ = (char)(*query == '+' ? ' ' : *query);
            continue;
        }
        apr_cpystrn(digits, query + 1, sizeof(digits));
        if (!apr_isxdigit(digits[0]) || !apr_isxdigit(digits[1])) {
            return HTTP_BAD_REQUEST;
        }
        *to = (char)strtol(digits, NULL, 16);
        if (*to == '\0' || *to == '/') {
            return HTTP_NOT_FOUND;
        }
        to++;
        query += 2;
    }
    *to = '\0';
    return OK;
}

AP_DECLARE(char *) ap_escape_urlencoded(apr_pool_t *p, const char *text)
{
    return apr_pstrdup(p, text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *pool;
    request_rec request;
    query_t query;
    const char *wrong;

    if (!pool) {
        apr_initialize();
        apr_pool_create(&pool, NULL);
    }
    memset(&request, 0, sizeof(request));
    request.pool = pool;
    request.args = apr_pstrmemdup(pool, (const char *)data, size);
    wrong = staple_status_read_query(&request, &query);
    require(!wrong || *wrong);
    if (!wrong) {
        require(query.show <= SHOW_TOKEN && query.state <= STAPLE_STATES);
        require(query.page >= 1 && query.page <= 999999 && query.words);
        require(query.show != SHOW_DER || query.id);
        require(*staple_status_link(&query, query.state,
                                    query.only_attention, query.page + 1,
                                    pool));
    }
    else {
        require(strstr(staple_status_queries(pool), "page") != NULL);
    }
    apr_pool_clear(pool);
    return 0;
}
