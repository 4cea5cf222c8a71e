/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * HTTP as values, see staple_http.h for the contract. What lives here: the
 * parser of responses (RFC 9112). What does not: requests
 * (pure/http_request.c), URLs (pure/staple_url.c), what header fields mean
 * unless they frame the response (pure/http_fields.c), sockets, and time.
 *
 * The one idea: the parser has two appetites. Outside of a body it collects a
 * line, in a body it takes as many bytes as it was told to. Each state says
 * which of the two is next and, once that is complete, which state follows; so
 * it makes no difference how the bytes were cut on their way.
 */

#include "http_int.h"

#include <apr_strings.h>

/* The first allocation for a body whose length is not known. */
#define BODY_STEP 4096

struct staple_http_parser_t {
    staple_http_state_e state;
    staple_http_fault_e fault;
    staple_http_limits_t limits;
    staple_http_response_t response;
    apr_pool_t *pool;

    char *line;               /* what was collected of the current line */
    apr_size_t line_len;
    apr_size_t header_bytes;  /* spent of limits.max_header_bytes */
    apr_size_t held;          /* bytes of line that are a whole field line,
                                 which the next one may continue; 0: none */
    int headers;              /* spent of limits.max_headers */

    apr_uint64_t length;      /* of Content-Length */
    int has_length;
    int has_coding;           /* Transfer-Encoding: chunked was seen */
    int has_close;            /* Connection: close */
    int has_keepalive;        /* Connection: keep-alive */
    int has_head;             /* the header section of a final response */

    apr_uint64_t wanted;      /* bytes left of the body, or of the chunk */
    unsigned char *body;
    apr_size_t body_size;     /* of the allocation */
};

const char *staple_http_state_text(staple_http_state_e state)
{
    switch (state) {
    case STAPLE_HTTP_AT_STATUS:
        return "status line";
    case STAPLE_HTTP_AT_HEADER:
        return "header";
    case STAPLE_HTTP_AT_BODY:
        return "body";
    case STAPLE_HTTP_AT_CHUNK_SIZE:
        return "chunk size";
    case STAPLE_HTTP_AT_CHUNK:
        return "chunk";
    case STAPLE_HTTP_AT_CHUNK_END:
        return "end of chunk";
    case STAPLE_HTTP_AT_TRAILER:
        return "trailer";
    case STAPLE_HTTP_AT_REST:
        return "body until close";
    case STAPLE_HTTP_AT_END:
        return "end";
    case STAPLE_HTTP_AT_FAULT:
        return "fault";
    }
    return "unknown";
}

const char *staple_http_fault_text(staple_http_fault_e fault)
{
    switch (fault) {
    case STAPLE_HTTP_OK:
        return "is well formed";
    case STAPLE_HTTP_NO_ANSWER:
        return "did not come, the connection was closed";
    case STAPLE_HTTP_TRUNCATED:
        return "is shorter than announced";
    case STAPLE_HTTP_BODY_TOO_LARGE:
        return "is too large";
    case STAPLE_HTTP_NOT_HTTP:
        return "is not HTTP";
    case STAPLE_HTTP_BAD_STATUS:
        return "has a status code that is none";
    case STAPLE_HTTP_BAD_UPGRADE:
        return "switches to a protocol that was not asked for";
    case STAPLE_HTTP_LINE_TOO_LONG:
        return "has a header line that is too long";
    case STAPLE_HTTP_HEAD_TOO_LARGE:
        return "has too large a header";
    case STAPLE_HTTP_TOO_MANY_HEADERS:
        return "has too many header lines";
    case STAPLE_HTTP_BAD_BYTE:
        return "has a control character in its header";
    case STAPLE_HTTP_BAD_HEADER:
        return "has a header line that is none";
    case STAPLE_HTTP_BLANK_FIRST:
        return "has a header that begins with a blank";
    case STAPLE_HTTP_BAD_LENGTH:
        return "has a Content-Length that is no number";
    case STAPLE_HTTP_TWO_LENGTHS:
        return "has lengths that contradict each other";
    case STAPLE_HTTP_BAD_CODING:
        return "has an unknown Transfer-Encoding";
    case STAPLE_HTTP_BAD_CHUNK:
        return "is wrongly chunked";
    }
    return "is not understood";
}

staple_http_limits_t staple_http_limits(apr_size_t max_body)
{
    staple_http_limits_t limits = { 8192, 32768, 100, 0 };

    limits.max_body = max_body;
    return limits;
}

static void expect_response(staple_http_parser_t *parser)
{
    staple_http_response_t none = { 0 };

    none.retry_seconds = none.max_age = none.age = -1;
    parser->response = none;
    parser->has_length = parser->has_coding = 0;
    parser->has_close = parser->has_keepalive = 0;
    parser->state = STAPLE_HTTP_AT_STATUS;
}

staple_http_parser_t *staple_http_parser_create(
    const staple_http_limits_t *limits, apr_pool_t *p)
{
    staple_http_parser_t *parser = apr_pcalloc(p, sizeof(*parser));

    parser->limits = *limits;
    parser->pool = p;
    parser->line = apr_palloc(p, limits->max_line + 2); /* CR, NUL */
    expect_response(parser);
    return parser;
}

static void fail(staple_http_parser_t *parser, staple_http_fault_e fault)
{
    parser->fault = fault;
    parser->state = STAPLE_HTTP_AT_FAULT;
    parser->response.is_reusable = 0;
}

/* ---- bytes ---- */

/* RFC 9110 5.6.2 */
static int is_token_byte(unsigned char c)
{
    return is_alpha(c) || is_digit(c) || is_one_of(c, "!#$%&'*+-.^_`|~");
}

static int is_blank(unsigned char c)
{
    return c == ' ' || c == '\t';
}

/* Cut blanks off both ends, in place. */
static char *trim(char *text)
{
    char *end;

    text += strspn(text, " \t");
    end = text + strlen(text);
    while (end > text && is_blank((unsigned char)end[-1])) {
        *--end = '\0';
    }
    return text;
}

/* ---- the fields that frame it ---- */

/* 1*DIGIT that fits; 0: it is none. */
static int parse_length(const char *text, apr_uint64_t *length)
{
    const char *c;

    *length = 0;
    for (c = text; is_digit((unsigned char)*c); c++) {
        if (*length > (APR_UINT64_MAX - 9) / 10) {
            return 0;
        }
        *length = *length * 10 + (apr_uint64_t)(*c - '0');
    }
    return c > text && !*c;
}

/* Two equal lengths are one (RFC 9110 8.6), two different ones are an attack
 * or a broken gateway. */
static void take_content_length(staple_http_parser_t *parser, char *value)
{
    apr_uint64_t length;
    char *next;

    for (; value; value = next) {
        next = strchr(value, ',');
        if (next) {
            *next++ = '\0';
        }
        if (!parse_length(trim(value), &length)) {
            fail(parser, STAPLE_HTTP_BAD_LENGTH);
            return;
        }
        if (parser->has_length && parser->length != length) {
            fail(parser, STAPLE_HTTP_TWO_LENGTHS);
            return;
        }
        parser->has_length = 1;
        parser->length = length;
    }
}

/* No TE was sent, so chunked, once, is all there may be (RFC 9112 6.1). */
static void take_transfer_encoding(staple_http_parser_t *parser, char *value)
{
    if (parser->has_coding || strcasecmp(value, "chunked")) {
        fail(parser, STAPLE_HTTP_BAD_CODING);
        return;
    }
    parser->has_coding = 1;
}

static void take_connection(staple_http_parser_t *parser, char *value)
{
    char *option;
    char *none;

    while ((option = staple_http_next_member(&value, &none)) != NULL) {
        if (!strcasecmp(option, "close")) {
            parser->has_close = 1;
        }
        else if (!strcasecmp(option, "keep-alive")) {
            parser->has_keepalive = 1;
        }
    }
}

typedef void take_fn(staple_http_parser_t *parser, char *value);

static const struct {
    const char *name;
    take_fn *take;
} framing[] = {
    { "Content-Length", take_content_length },
    { "Transfer-Encoding", take_transfer_encoding },
    { "Connection", take_connection }
};

static void take_field(staple_http_parser_t *parser, const field_t *field)
{
    apr_size_t i;

    for (i = 0; i < sizeof(framing) / sizeof(framing[0]); i++) {
        if (is_named(field, framing[i].name)) {
            framing[i].take(parser, field->value);
            return;
        }
    }
    staple_http_take_field(&parser->response, field);
}

/* ---- lines ---- */

/* HTTP/1.x SP 3DIGIT [ SP reason ]; the reason is not even looked at. */
static void end_status_line(staple_http_parser_t *parser)
{
    const char *line = parser->line;

    if (parser->line_len < 12 || strncmp(line, "HTTP/1.", 7)
        || !is_digit((unsigned char)line[7]) || line[8] != ' ') {
        fail(parser, STAPLE_HTTP_NOT_HTTP);
        return;
    }
    if (line[9] < '1' || line[9] > '5' || !is_digit((unsigned char)line[10])
        || !is_digit((unsigned char)line[11])
        || (line[12] && line[12] != ' ')) {
        fail(parser, STAPLE_HTTP_BAD_STATUS);
        return;
    }
    parser->response.minor = line[7] - '0';
    parser->response.status = (line[9] - '0') * 100 + (line[10] - '0') * 10
                              + (line[11] - '0');
    parser->state = STAPLE_HTTP_AT_HEADER;
}

/* The field in a line; whether it is one. */
static int split_field(staple_http_parser_t *parser, field_t *field)
{
    char *line = parser->line;
    apr_size_t name_len = 0;

    if (is_blank((unsigned char)*line)) {
        fail(parser, STAPLE_HTTP_BLANK_FIRST); /* RFC 9112 2.2 */
        return 0;
    }
    while (is_token_byte((unsigned char)line[name_len])) {
        name_len++;
    }
    if (!name_len || line[name_len] != ':') {
        fail(parser, STAPLE_HTTP_BAD_HEADER);
        return 0;
    }
    field->name = line;
    field->name_len = name_len;
    field->value = trim(line + name_len + 1);
    field->pool = parser->pool;
    return 1;
}

static int count_field(staple_http_parser_t *parser)
{
    if (++parser->headers > parser->limits.max_headers) {
        fail(parser, STAPLE_HTTP_TOO_MANY_HEADERS);
        return 0;
    }
    return 1;
}

/* RFC 9112 6.3: what frames the body, if there may be one. */
static void begin_body(staple_http_parser_t *parser)
{
    int status = parser->response.status;

    if (status == 204 || status == 304) {
        parser->state = STAPLE_HTTP_AT_END;
    }
    else if (parser->has_coding) {
        parser->state = STAPLE_HTTP_AT_CHUNK_SIZE;
    }
    else if (!parser->has_length) {
        parser->response.is_reusable = 0;
        parser->state = STAPLE_HTTP_AT_REST;
    }
    else if (parser->length > parser->limits.max_body) {
        fail(parser, STAPLE_HTTP_BODY_TOO_LARGE);
    }
    else {
        parser->wanted = parser->length;
        parser->state = parser->wanted ? STAPLE_HTTP_AT_BODY
                                       : STAPLE_HTTP_AT_END;
    }
}

/* The empty line has come: is this the response, and how does it end? */
static void end_head(staple_http_parser_t *parser)
{
    staple_http_response_t *response = &parser->response;

    if (response->status == 101) {
        fail(parser, STAPLE_HTTP_BAD_UPGRADE);
        return;
    }
    if (response->status < 200) {
        expect_response(parser);
        return;
    }
    if (parser->has_coding && (parser->has_length || !response->minor)) {
        fail(parser, parser->has_length ? STAPLE_HTTP_TWO_LENGTHS
                                        : STAPLE_HTTP_BAD_CODING);
        return;
    }
    parser->has_head = 1;
    response->is_reusable = !parser->has_close
                            && (response->minor || parser->has_keepalive);
    begin_body(parser);
}

/* The field line that was held is not continued: take it. Trailers are checked
 * like headers and mean nothing (RFC 9110 6.5.1). */
static void take_held(staple_http_parser_t *parser)
{
    field_t field;

    if (split_field(parser, &field)
        && parser->state == STAPLE_HTTP_AT_HEADER) {
        take_field(parser, &field);
    }
    parser->line_len = parser->held = 0;
}

/* Whether a field line is held that the next byte does not continue. */
static int is_over(const staple_http_parser_t *parser, char next)
{
    return parser->held && parser->line_len == parser->held
           && !is_blank((unsigned char)next);
}

/* The blanks with which a line continues the one that is held become one
 * space (RFC 9112 5.2). */
static void join_lines(staple_http_parser_t *parser)
{
    char *fold = parser->line + parser->held;
    apr_size_t blanks = strspn(fold, " \t");

    *fold = ' ';
    memmove(fold + 1, fold + blanks, strlen(fold + blanks) + 1);
    parser->line_len -= blanks - 1;
}

/* The next line may still continue this one. */
static void end_field_line(staple_http_parser_t *parser)
{
    if (parser->line_len) {
        if (parser->held) {
            join_lines(parser);
        }
        parser->held = count_field(parser) ? parser->line_len : 0;
    }
    else if (parser->state == STAPLE_HTTP_AT_HEADER) {
        end_head(parser);
    }
    else {
        parser->state = STAPLE_HTTP_AT_END;
    }
}

/* 1*HEXDIG that fits; what follows it, or NULL: it is none. */
static const char *parse_chunk_size(const char *text, apr_uint64_t *size)
{
    const char *c;
    int digit;

    *size = 0;
    for (c = text; (digit = hex_value((unsigned char)*c)) >= 0; c++) {
        if (*size > APR_UINT64_MAX >> 4) {
            return NULL;
        }
        *size = *size << 4 | (apr_uint64_t)digit;
    }
    return c > text ? c : NULL;
}

/* 1*HEXDIG [ chunk-ext ], and no more than the body may still grow. */
static void end_chunk_size(staple_http_parser_t *parser)
{
    apr_uint64_t size;
    const char *extension = parse_chunk_size(parser->line, &size);
    apr_size_t len = extension ? strlen(extension) : 0;

    if (!extension) {
        fail(parser, STAPLE_HTTP_BAD_CHUNK);
        return;
    }
    if (len > parser->limits.max_header_bytes - parser->header_bytes) {
        fail(parser, STAPLE_HTTP_HEAD_TOO_LARGE);
        return;
    }
    parser->header_bytes += len;
    extension += strspn(extension, " \t");
    if (*extension && *extension != ';') {
        fail(parser, STAPLE_HTTP_BAD_CHUNK);
    }
    else if (size > parser->limits.max_body - parser->response.body_len) {
        fail(parser, STAPLE_HTTP_BODY_TOO_LARGE);
    }
    else {
        parser->wanted = size;
        parser->state = size ? STAPLE_HTTP_AT_CHUNK : STAPLE_HTTP_AT_TRAILER;
    }
}

static void end_chunk(staple_http_parser_t *parser)
{
    if (parser->line_len) {
        fail(parser, STAPLE_HTTP_BAD_CHUNK);
        return;
    }
    parser->state = STAPLE_HTTP_AT_CHUNK_SIZE;
}

static int is_chunk_framing(const staple_http_parser_t *parser)
{
    return parser->state == STAPLE_HTTP_AT_CHUNK_SIZE
           || parser->state == STAPLE_HTTP_AT_CHUNK_END;
}

/*
 * Outside of chunk framing a lone LF ends a line too (RFC 9112 2.2); a CR
 * anywhere else, a NUL or another control character is no part of a line.
 * Whether the line, cut off before its CR, may be one.
 */
static int check_line(staple_http_parser_t *parser)
{
    const unsigned char *c = (const unsigned char *)parser->line;
    const unsigned char *end;

    if (parser->line_len && parser->line[parser->line_len - 1] == '\r') {
        parser->line_len--;
    }
    else if (is_chunk_framing(parser)) {
        fail(parser, STAPLE_HTTP_BAD_CHUNK);
        return 0;
    }
    if (parser->line_len > parser->limits.max_line) {
        fail(parser, STAPLE_HTTP_LINE_TOO_LONG);
        return 0;
    }
    for (end = c + parser->line_len; c < end; c++) {
        if ((*c < ' ' && *c != '\t') || *c == 0x7f) {
            fail(parser, STAPLE_HTTP_BAD_BYTE);
            return 0;
        }
    }
    parser->line[parser->line_len] = '\0';
    return 1;
}

/* A line is complete but for its LF. */
static void end_line(staple_http_parser_t *parser)
{
    if (!check_line(parser)) {
        return;
    }
    switch (parser->state) {
    case STAPLE_HTTP_AT_STATUS:
        end_status_line(parser);
        break;
    case STAPLE_HTTP_AT_CHUNK_SIZE:
        end_chunk_size(parser);
        break;
    case STAPLE_HTTP_AT_CHUNK_END:
        end_chunk(parser);
        break;
    default:
        end_field_line(parser);
        break;
    }
    parser->line_len = parser->held;
}

/* What does not even begin like HTTP is told at once, not at its first LF. */
static int may_be_http(const staple_http_parser_t *parser)
{
    apr_size_t len = parser->line_len < 7 ? parser->line_len : 7;

    return parser->state != STAPLE_HTTP_AT_STATUS
           || !memcmp(parser->line, "HTTP/1.", len);
}

static apr_size_t smaller(apr_size_t a, apr_size_t b)
{
    return a < b ? a : b;
}

/*
 * Collect bytes of a line, at most up to its end; how many were taken. A
 * limit fails at the first byte that does not fit, however the bytes were cut.
 */
static apr_size_t take_line(staple_http_parser_t *parser, const char *bytes,
                            apr_size_t len)
{
    const char *lf = memchr(bytes, '\n', len);
    apr_size_t wanted = lf ? (apr_size_t)(lf - bytes) : len;
    apr_size_t room = parser->limits.max_line + 1 - parser->line_len;
    apr_size_t left = is_chunk_framing(parser) ? APR_SIZE_MAX
                    : parser->limits.max_header_bytes - parser->header_bytes;
    apr_size_t taken = smaller(wanted, smaller(room, left));

    memcpy(parser->line + parser->line_len, bytes, taken);
    parser->line_len += taken;
    if (!is_chunk_framing(parser)) {
        parser->header_bytes += taken;
    }
    if (!may_be_http(parser)) {
        fail(parser, STAPLE_HTTP_NOT_HTTP);
        return taken;
    }
    if (taken < wanted && taken == room) {
        fail(parser, STAPLE_HTTP_LINE_TOO_LONG);
        return taken;
    }
    if (taken < wanted || (lf && taken == left)) {
        fail(parser, STAPLE_HTTP_HEAD_TOO_LARGE);
        return taken;
    }
    if (!lf) {
        return taken;
    }
    if (!is_chunk_framing(parser)) {
        parser->header_bytes++;
    }
    end_line(parser);
    return taken + 1;
}

/* ---- the body ---- */

/* Space grows with what has come, never with what was announced. */
static void append_body(staple_http_parser_t *parser, const char *bytes,
                        apr_size_t len)
{
    staple_http_response_t *response = &parser->response;
    apr_size_t needed = response->body_len + len;

    if (needed > parser->body_size) {
        apr_size_t size = parser->body_size ? parser->body_size : BODY_STEP;
        unsigned char *body;

        while (size < needed) {
            size *= 2;
        }
        body = apr_palloc(parser->pool, size);
        if (response->body_len) {
            memcpy(body, parser->body, response->body_len);
        }
        parser->body = body;
        parser->body_size = size;
    }
    memcpy(parser->body + response->body_len, bytes, len);
    response->body = parser->body;
    response->body_len = needed;
}

static apr_size_t take_body(staple_http_parser_t *parser, const char *bytes,
                            apr_size_t len)
{
    if (parser->state == STAPLE_HTTP_AT_REST) {
        if (len > parser->limits.max_body - parser->response.body_len) {
            fail(parser, STAPLE_HTTP_BODY_TOO_LARGE);
            return 0;
        }
        append_body(parser, bytes, len);
        return len;
    }
    if (len > parser->wanted) {
        len = (apr_size_t)parser->wanted;
    }
    append_body(parser, bytes, len);
    parser->wanted -= len;
    if (!parser->wanted) {
        parser->state = parser->state == STAPLE_HTTP_AT_BODY
                      ? STAPLE_HTTP_AT_END : STAPLE_HTTP_AT_CHUNK_END;
    }
    return len;
}

/* ---- the whole ---- */

staple_http_state_e staple_http_feed(staple_http_parser_t *parser,
                                     const void *bytes, apr_size_t len,
                                     apr_size_t *used)
{
    const char *from = bytes;

    *used = 0;
    while (*used < len) {
        switch (parser->state) {
        case STAPLE_HTTP_AT_END:
            parser->response.is_reusable = 0; /* more than was asked for */
            return parser->state;
        case STAPLE_HTTP_AT_FAULT:
            return parser->state;
        case STAPLE_HTTP_AT_BODY:
        case STAPLE_HTTP_AT_CHUNK:
        case STAPLE_HTTP_AT_REST:
            *used += take_body(parser, from + *used, len - *used);
            break;
        default:
            if (is_over(parser, from[*used])) {
                take_held(parser);
            }
            else {
                *used += take_line(parser, from + *used, len - *used);
            }
            break;
        }
    }
    return parser->state;
}

staple_http_state_e staple_http_close(staple_http_parser_t *parser)
{
    if (parser->state == STAPLE_HTTP_AT_REST) {
        parser->state = STAPLE_HTTP_AT_END;
    }
    else if (parser->state == STAPLE_HTTP_AT_STATUS && !parser->header_bytes) {
        fail(parser, STAPLE_HTTP_NO_ANSWER);
    }
    else if (parser->state < STAPLE_HTTP_AT_END) {
        fail(parser, STAPLE_HTTP_TRUNCATED);
    }
    return parser->state;
}

staple_http_state_e staple_http_cut(staple_http_parser_t *parser,
                                    apr_size_t len)
{
    if (parser->state == STAPLE_HTTP_AT_REST) {
        parser->response.body_len = len;
        parser->state = STAPLE_HTTP_AT_END;
    }
    return parser->state;
}

int staple_http_has_head(const staple_http_parser_t *parser)
{
    return parser->has_head;
}

staple_http_fault_e staple_http_fault(const staple_http_parser_t *parser)
{
    return parser->fault;
}

const staple_http_response_t *staple_http_response(
    const staple_http_parser_t *parser)
{
    return &parser->response;
}
