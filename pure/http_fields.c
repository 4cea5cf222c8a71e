/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the header fields of a response mean (RFC 9110, 9111): where else to
 * ask, when again, for how long it is fresh, what names it. What does not live
 * here: the fields that frame the response, which are the parser's own
 * business (pure/staple_http.c).
 *
 * The one idea: a field is a hint, and one that cannot be believed is none. So
 * nothing here fails: a value that is too long, is no date or has a byte that
 * should not reach a request or a log leaves the response as if the field had
 * not come, or, where a guess could keep what is stale, as if it were stale.
 */

#include "http_int.h"

#include <apr_date.h>
#include <apr_strings.h>

/* Numbers of seconds saturate here, as RFC 9111 1.2.2 has it. */
#define SECONDS_MAX 0x7fffffff

/* An etag longer than this is not worth sending back. */
#define ETAG_MAX 128

/* ---- values ---- */

/* 1*DIGIT as a number of seconds that saturates; -1: it is none. */
static apr_int64_t parse_seconds(const char *text)
{
    apr_int64_t value = 0;

    if (!*text) {
        return -1;
    }
    for (; *text; text++) {
        if (!is_digit((unsigned char)*text)) {
            return -1;
        }
        value = value * 10 + (*text - '0');
        if (value > SECONDS_MAX) {
            value = SECONDS_MAX;
        }
    }
    return value;
}

char *staple_http_next_member(char **list, char **value)
{
    char *name = *list + strspn(*list, ", \t");
    char *end = name + strcspn(name, "=, \t");
    char *rest = end + strspn(end, " \t");

    *value = end;
    if (!*name) {
        return NULL;
    }
    if (*rest == '=' && rest[1] == '"') {
        *value = rest + 2;
        rest = *value + strcspn(*value, "\"");
    }
    else if (*rest == '=') {
        *value = rest + 1;
        rest = *value + strcspn(*value, ", \t");
    }
    *list = rest + strcspn(rest, ",");
    if (**list) {
        (*list)++; /* the comma may be the byte that is cut off below */
    }
    *rest = *end = '\0';
    return name;
}

/* ---- fields ---- */

typedef staple_http_response_t response_t;

static void take_content_type(response_t *response, const field_t *field)
{
    field->value[strcspn(field->value, "; \t")] = '\0';
    response->is_typed = !strcasecmp(field->value, OCSP_RESPONSE_TYPE);
}

static void take_location(response_t *response, const field_t *field)
{
    if (!response->location && *field->value && is_printable(field->value)
        && strlen(field->value) <= STAPLE_URL_MAX) {
        response->location = apr_pstrdup(field->pool, field->value);
    }
}

static void take_retry_after(response_t *response, const field_t *field)
{
    response->retry_seconds = parse_seconds(field->value);
    if (response->retry_seconds < 0) {
        response->retry_at = apr_date_parse_http(field->value);
    }
}

/* A max-age that is no number means stale (RFC 9111 4.2.1); of several the
 * shortest is the safe one. */
static void take_cache_control(response_t *response, const field_t *field)
{
    char *list = field->value;
    char *name;
    char *argument;

    while ((name = staple_http_next_member(&list, &argument)) != NULL) {
        if (!strcasecmp(name, "no-store") || !strcasecmp(name, "no-cache")) {
            response->is_uncacheable = 1;
        }
        else if (!strcasecmp(name, "max-age")) {
            apr_int64_t age = parse_seconds(argument);

            age = age < 0 ? 0 : age;
            if (response->max_age < 0 || age < response->max_age) {
                response->max_age = age;
            }
        }
    }
}

static void take_expires(response_t *response, const field_t *field)
{
    response->expires = apr_date_parse_http(field->value);
    response->has_expires = 1;
}

static void take_date(response_t *response, const field_t *field)
{
    response->date = apr_date_parse_http(field->value);
}

static void take_age(response_t *response, const field_t *field)
{
    response->age = parse_seconds(field->value);
}

/* [W/]"etagc*" (RFC 9110 8.8.3), as far as it is ASCII. */
static void take_etag(response_t *response, const field_t *field)
{
    const char *tag = field->value + (strncmp(field->value, "W/", 2) ? 0 : 2);
    apr_size_t len = strlen(tag);

    if (len >= 2 && len <= ETAG_MAX && is_printable(tag) && *tag == '"'
        && strchr(tag + 1, '"') == tag + len - 1) {
        response->etag = apr_pstrdup(field->pool, field->value);
    }
}

/* Written anew: the date is then what it means, not what was sent. */
static void take_last_modified(response_t *response, const field_t *field)
{
    apr_time_t date = apr_date_parse_http(field->value);
    char text[APR_RFC822_DATE_LEN];

    if (date > 0 && apr_rfc822_date(text, date) == APR_SUCCESS) {
        response->last_modified = apr_pstrdup(field->pool, text);
    }
}

typedef void take_fn(response_t *response, const field_t *field);

static const struct {
    const char *name;
    take_fn *take;
} fields[] = {
    { "Content-Type", take_content_type },
    { "Location", take_location },
    { "Retry-After", take_retry_after },
    { "Cache-Control", take_cache_control },
    { "Expires", take_expires },
    { "Date", take_date },
    { "Age", take_age },
    { "ETag", take_etag },
    { "Last-Modified", take_last_modified }
};

void staple_http_take_field(response_t *response, const field_t *field)
{
    apr_size_t i;

    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (is_named(field, fields[i].name)) {
            fields[i].take(response, field);
            return;
        }
    }
}

/* ---- what they amount to ---- */

apr_interval_time_t staple_http_retry_after(
    const staple_http_response_t *response, apr_time_t now)
{
    if (response->retry_seconds >= 0) {
        return apr_time_from_sec(response->retry_seconds);
    }
    if (!response->retry_at) {
        return -1;
    }
    return response->retry_at > now ? response->retry_at - now : 0;
}

apr_interval_time_t staple_http_fresh_for(
    const staple_http_response_t *response, apr_time_t now)
{
    apr_time_t date = response->date ? response->date : now;
    apr_interval_time_t lifetime;
    apr_interval_time_t age = 0;

    if (response->is_uncacheable) {
        return 0;
    }
    if (response->max_age >= 0) {
        lifetime = apr_time_from_sec(response->max_age);
    }
    else if (response->has_expires) {
        lifetime = response->expires - date;
    }
    else {
        return -1;
    }
    if (response->age > 0) {
        age = apr_time_from_sec(response->age);
    }
    if (now - date > age) {
        age = now - date;
    }
    return lifetime > age ? lifetime - age : 0;
}
