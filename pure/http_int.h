/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_HTTP_INT_H
#define STAPLE_HTTP_INT_H

/*
 * What the files of the HTTP room have in common and nobody else sees:
 *
 *   pure/staple_http.c   the parser: a response as it is framed
 *   pure/http_fields.c   what the fields of its header mean
 *   pure/http_request.c  the bytes of a request
 *
 * The parser calls the fields; otherwise they stand alone.
 */

#include "staple_http.h"
#include "bytes.h"

#include <string.h>
#include <strings.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What an OCSP response is called (RFC 6960 A.2). */
#define OCSP_RESPONSE_TYPE "application/ocsp-response"

/* ----- pure/http_fields.c ----- */

/** A header field, as the parser has cut it out of its line. */
typedef struct field_t {
    const char *name;
    apr_size_t name_len;
    char *value;      /* without blanks at its ends; may be changed */
    apr_pool_t *pool; /* of what is kept of it */
} field_t;

static inline int is_named(const field_t *field, const char *name)
{
    return strlen(name) == field->name_len
           && !strncasecmp(name, field->name, field->name_len);
}

/** Note what a field says, if it is one that means anything here. */
void staple_http_take_field(staple_http_response_t *response,
                            const field_t *field);

/**
 * The next member of a comma-separated list: "name", "name=value" or
 * "name="value"" (RFC 9111 5.2), cut out of the list in place.
 * @param list moved behind it
 * @param value "" where there is none
 * @return the name; NULL at the end
 */
char *staple_http_next_member(char **list, char **value);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_HTTP_INT_H */
