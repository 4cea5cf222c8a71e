/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl lint: files become lines, in the order in which httpd reads them.
 *
 * The one idea: httpd's own rules of reading, and nothing of what the lines
 * mean. A backslash at the end of a line goes on with the next one, in a
 * comment too; sections nest; Include is followed where it stands, in its
 * section. What httpd would stop at is a note here, and reading goes on, since
 * there is more to say. Whatever a file holds, reading it ends: depth, number
 * and size are bounded.
 */

#include "lint.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_file_info.h>
#include <apr_file_io.h>
#include <apr_fnmatch.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "staple_text.h"

#define DEPTH_MAX 128 /* of includes and of directories, as httpd has it */
#define NESTED_MAX 20 /* sections in sections */
#define FILES_MAX 100000
#define LINE_MAX_LEN (16 * 1024 * 1024)            /* httpd's own limit */
#define FILE_MAX ((apr_size_t)64 * 1024 * 1024)
#define BYTES_MAX ((apr_size_t)1024 * 1024 * 1024)
#define SPAN_MAX apr_time_from_sec(60) /* of reading */
#define NOTES_MAX 10000
#define LINES_A_LOOK 4096 /* how often to look at the clock */

#define HTTPD STAPLECTL_DIALECT_HTTPD

/* A file that is being read. */
typedef struct input_t {
    staplectl_reader_t *reader;
    const char *file;
    char *at, *end; /* what is left of it */
    int number;     /* of the physical line that begins at `at` */
    int first;      /* of the line that was read last */
    int depth;      /* of includes */
    int is_optional; /* an IncludeOptional is followed */
    int is_relative; /* what is followed begins at ServerRoot */
    const staplectl_section_t *outer;   /* where it is included */
    const staplectl_section_t *section; /* where we are */
    apr_pool_t *p;  /* dies with the file */
} input_t;

static const char *load_file(staplectl_reader_t *reader, const char *path,
                             const staplectl_section_t *section, int depth);

void staplectl_note(apr_array_header_t *notes, const char *file, int line,
                    const char *text)
{
    staplectl_note_t *note;

    if (notes->nelts >= NOTES_MAX) {
        return;
    }
    note = apr_array_push(notes);
    note->file = file ? staple_text_string(file, notes->pool) : NULL;
    note->line = line;
    note->text = text;
}

static void note(const input_t *in, const char *text)
{
    staplectl_note(in->reader->notes, in->file, in->first, text);
}

staplectl_reader_t *staplectl_reader_make(
    void (*visit)(void *baton, const staplectl_line_t *line), void *baton,
    apr_pool_t *p)
{
    staplectl_reader_t *reader = apr_pcalloc(p, sizeof(*reader));

    reader->pool = p;
    reader->visit = visit;
    reader->baton = baton;
    reader->follows = 1;
    reader->seen = apr_hash_make(p);
    reader->defines = apr_hash_make(p);
    reader->open = apr_array_make(p, DEPTH_MAX, sizeof(const char *));
    reader->directories = apr_array_make(p, DEPTH_MAX, sizeof(apr_finfo_t));
    reader->notes = apr_array_make(p, 4, sizeof(staplectl_note_t));
    return reader;
}

void staplectl_reader_stop(staplectl_reader_t *reader, const char *file,
                           int line, const char *why)
{
    if (!reader->is_stopped) {
        reader->is_stopped = 1;
        reader->failures++;
        staplectl_note(reader->notes, apr_pstrdup(reader->pool, file), line,
                       apr_pstrcat(reader->pool, why,
                                   ": the rest is not read", NULL));
    }
}

static void look_at_clock(const input_t *in)
{
    if (in->reader->deadline && apr_time_now() > in->reader->deadline) {
        staplectl_reader_stop(in->reader, in->file, in->first,
                              "reading has taken a minute");
    }
}

/* Whether to go on; a limit that is reached is noted. */
static int may_go_on(const input_t *in)
{
    if (in->number % LINES_A_LOOK == 0) {
        look_at_clock(in);
    }
    return !in->reader->is_stopped;
}

const char *staplectl_reader_root(const staplectl_reader_t *reader)
{
    if (reader->root) {
        return reader->root;
    }
    return reader->server_root ? reader->server_root : reader->base;
}

/* ----- lines ----- */

/* The next physical line, without its end; whether there is one. */
static int take_physical(input_t *in, char **line, apr_size_t *len)
{
    char *feed, *stop;

    if (in->at >= in->end) {
        return 0;
    }
    feed = memchr(in->at, '\n', (apr_size_t)(in->end - in->at));
    stop = feed ? feed : in->end;
    *line = in->at;
    in->at = feed ? feed + 1 : in->end;
    in->number++;
    if (feed && stop > *line && stop[-1] == '\r') {
        stop--;
    }
    *len = (apr_size_t)(stop - *line);
    return 1;
}

/* The next line with all that continues it, in place and without white space
 * around it; NULL at the end. */
static char *take_line(input_t *in)
{
    char *line, *more;
    apr_size_t len, more_len;

    in->first = in->number;
    if (!take_physical(in, &line, &len)) {
        return NULL;
    }
    while (len && line[len - 1] == '\\' && in->at < in->end) {
        len--;
        take_physical(in, &more, &more_len);
        memmove(line + len, more, more_len);
        len += more_len;
    }
    while (len && apr_isspace(line[len - 1])) {
        len--;
    }
    line[len] = '\0';
    while (apr_isspace(*line)) {
        line++;
    }
    return line;
}

/* ----- sections ----- */

static int count_open(const staplectl_section_t *section)
{
    int count = 0;

    for (; section; section = section->parent) {
        count++;
    }
    return count;
}

/* Nobody writes that; what is left of the file is not read. */
static void skip_rest(input_t *in)
{
    note(in, "too many sections in each other: the rest is not read");
    in->reader->failures++;
    in->at = in->end;
    in->section = in->outer;
}

/* 1: a Define has said so, -1: it is asked for the contrary, 0: not known. */
static int is_defined(const staplectl_reader_t *reader, const char *arg)
{
    int is_negated = *arg == '!';

    if (!apr_hash_get(reader->defines, arg + is_negated, APR_HASH_KEY_STRING)) {
        return 0;
    }
    return is_negated ? -1 : 1;
}

static void open_section(input_t *in, const char *text)
{
    apr_pool_t *p = in->reader->pool;
    staplectl_section_t *section = apr_palloc(p, sizeof(*section));
    apr_size_t name = strcspn(text, " \t>");
    const char *arg = text + name + strspn(text + name, " \t");
    const char *close = strrchr(arg, '>');

    section->parent = in->section;
    section->name = apr_pstrmemdup(p, text, name);
    section->arg = close ? apr_pstrmemdup(p, arg, (apr_size_t)(close - arg))
                         : apr_pstrdup(p, arg);
    section->kind = staplectl_section_kind(section->name);
    section->file = in->file;
    section->line = in->first;
    section->truth = strcasecmp(section->name, "IfDefine")
                     ? 0 : is_defined(in->reader, section->arg);
    in->section = section;
}

/* A section ends in the file where it begins. */
static void close_section(input_t *in, const char *text)
{
    const char *name = apr_pstrmemdup(in->p, text, strcspn(text, " \t>"));
    const staplectl_section_t *section = in->section;

    while (section != in->outer && strcasecmp(section->name, name)) {
        section = section->parent;
    }
    if (section == in->outer) {
        note(in, apr_psprintf(in->reader->pool, "</%.60s> ends what is not "
                              "open: httpd does not start", name));
        return;
    }
    if (section != in->section) {
        note(in, apr_psprintf(in->reader->pool, "</%.60s> comes before <%.60s> "
                              "is closed: httpd does not start", name,
                              in->section->name));
    }
    in->section = section->parent;
}

static void check_closed(input_t *in)
{
    if (in->section != in->outer) {
        in->first = in->section->line;
        note(in, apr_psprintf(in->reader->pool, "<%.60s> is not closed in this "
                              "file: httpd does not start",
                              in->section->name));
    }
}

/* ----- includes ----- */

/* Whether a file is being read already, somewhere further up. */
static int is_open(const staplectl_reader_t *reader, const char *path)
{
    int i;

    for (i = 0; i < reader->open->nelts; i++) {
        if (!strcmp(APR_ARRAY_IDX(reader->open, i, const char *), path)) {
            return 1;
        }
    }
    return 0;
}

static void note_unread(input_t *in, const char *path, const char *wrong)
{
    in->reader->failures++;
    note(in, apr_psprintf(in->reader->pool, "%s: %s", path, wrong));
}

static void include_one(input_t *in, const char *path)
{
    staplectl_reader_t *reader = in->reader;
    const char *wrong;

    if (is_open(reader, path)) {
        note(in, apr_psprintf(reader->pool, "%s includes itself: not read "
                              "again", path));
        return;
    }
    wrong = load_file(reader, path, in->section, in->depth + 1);
    if (wrong) {
        note_unread(in, path, wrong);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What an include would read is not there: httpd does not start, unless it is
 * an IncludeOptional. */
static void note_missing(input_t *in, const char *path)
{
    if (in->is_optional) {
        return;
    }
    in->reader->missing++;
    note(in, apr_psprintf(in->reader->pool, "nothing is included: there is no "
                          "%s%s", path,
                          in->is_relative && !in->reader->root
                          ? " (--root names another ServerRoot)" : ""));
}

static const char *join(const char *path, const char *name, apr_pool_t *p)
{
    apr_size_t len = strlen(path);
    const char *slash = len && path[len - 1] != '/' ? "/" : "";

    return apr_pstrcat(p, path, slash, name, NULL);
}

/* As in httpd, a wildcard stands for no name that begins with a dot, and inside
 * of a path for directories only, which a link to one is not. */
static int is_name(const apr_finfo_t *entry, const char *pattern,
                   const char *rest)
{
    if (!strcmp(entry->name, ".") || !strcmp(entry->name, "..")) {
        return 0;
    }
    return !pattern
           || ((!rest || entry->filetype == APR_DIR)
               && !apr_fnmatch(pattern, entry->name, APR_FNM_PERIOD));
}

/* Those names in a directory, sorted. */
static apr_status_t list_names(apr_array_header_t *names, const char *path,
                               const char *pattern, const char *rest,
                               apr_pool_t *p)
{
    apr_finfo_t entry;
    apr_dir_t *dir;
    apr_status_t rv = apr_dir_open(&dir, *path ? path : ".", p);

    if (rv) {
        return rv;
    }
    while (names->nelts <= FILES_MAX
           && !apr_dir_read(&entry, APR_FINFO_NAME | APR_FINFO_TYPE, dir)) {
        if (is_name(&entry, pattern, rest)) {
            APR_ARRAY_PUSH(names, const char *) = apr_pstrdup(p, entry.name);
        }
    }
    apr_dir_close(dir);
    qsort(names->elts, (size_t)names->nelts, sizeof(const char *), by_name);
    return APR_SUCCESS;
}

static void include_path(input_t *in, const char *path);
static void include_pattern(input_t *in, const char *path, const char *rest,
                            apr_pool_t *p);

/* Patterns that go up again may stand for more places than there are files. */
static void count_place(const input_t *in)
{
    staplectl_reader_t *reader = in->reader;

    look_at_clock(in);
    if (++reader->places > FILES_MAX) {
        staplectl_reader_stop(reader, in->file, in->first, "there are too many "
                              "files or directories to include");
    }
}

/* What is in a directory, and of that what follows in the path.
 * @param pattern NULL: all that is in it
 * @param rest the path behind the pattern; NULL: it ends there */
static void include_names(input_t *in, const char *path, const char *pattern,
                          const char *rest)
{
    staplectl_reader_t *reader = in->reader;
    apr_array_header_t *names;
    apr_status_t rv;
    apr_pool_t *p;
    int i;

    if (reader->nested >= DEPTH_MAX) {
        note_unread(in, path, "there are too many directories in each other");
        return;
    }
    reader->nested++;
    apr_pool_create(&p, in->p);
    names = apr_array_make(p, 16, sizeof(const char *));
    rv = list_names(names, path, pattern, rest, p);
    if (rv && !APR_STATUS_IS_ENOENT(rv)) {
        note_unread(in, path, staple_text_error(rv, p));
    }
    else if (pattern && !names->nelts) {
        note_missing(in, join(path, pattern, p));
    }
    count_place(in);
    for (i = 0; i < names->nelts && !reader->is_stopped; i++) {
        const char *name = join(path, APR_ARRAY_IDX(names, i, const char *), p);

        if (rest) {
            include_pattern(in, name, rest, p);
        }
        else {
            include_path(in, name);
        }
    }
    apr_pool_destroy(p);
    reader->nested--;
}

/* All that is in a directory, unless a link has led back to it. */
static void include_directory(input_t *in, const char *path)
{
    apr_array_header_t *open = in->reader->directories;
    apr_finfo_t info;
    int i;

    if (apr_stat(&info, path, APR_FINFO_DEV | APR_FINFO_INODE, in->p)) {
        return;
    }
    for (i = 0; i < open->nelts; i++) {
        const apr_finfo_t *other = &APR_ARRAY_IDX(open, i, apr_finfo_t);

        if (other->device == info.device && other->inode == info.inode) {
            note(in, apr_psprintf(in->reader->pool, "%s leads back to a "
                                  "directory that it is in: not read again%s",
                                  path, in->is_optional ? ""
                                  : ", and httpd does not start"));
            return;
        }
    }
    APR_ARRAY_PUSH(open, apr_finfo_t) = info;
    include_names(in, path, NULL, NULL);
    apr_array_pop(open);
}

/* A file, or all that is in a directory. */
static void include_path(input_t *in, const char *path)
{
    apr_finfo_t info;
    apr_status_t rv = apr_stat(&info, path, APR_FINFO_TYPE, in->p);

    count_place(in);
    if (rv == APR_SUCCESS && info.filetype == APR_DIR) {
        include_directory(in, path);
    }
    else if (APR_STATUS_IS_ENOENT(rv) || APR_STATUS_IS_ENOTDIR(rv)) {
        note_missing(in, path);
    }
    else if (rv == APR_SUCCESS || !in->is_optional
             || APR_STATUS_IS_EACCES(rv)) { /* httpd reads it as root */
        include_one(in, path);
    }
}

/* What the rest of a path stands for, beneath a path without wildcards. Each
 * part has to be there, in each directory that the one before it stands for. */
static void include_pattern(input_t *in, const char *path, const char *rest,
                            apr_pool_t *p)
{
    while (rest) {
        const char *end = rest + strcspn(rest, "/");
        const char *part = apr_pstrmemdup(p, rest, (apr_size_t)(end - rest));

        rest = *end ? end + strspn(end, "/") : NULL;
        if (apr_fnmatch_test(part)) {
            include_names(in, path, part, rest);
            return;
        }
        path = join(path, part, p);
    }
    include_path(in, path);
}

static void follow(input_t *in, const char *args, int is_optional)
{
    staplectl_reader_t *reader = in->reader;
    const char *root = staplectl_reader_root(reader);
    apr_array_header_t *list = staplectl_args_split(args, NULL, in->p);
    const char *name = list->nelts ? APR_ARRAY_IDX(list, 0, const char *) : "";
    const char *path = *name == '/' || !root ? name
                       : apr_pstrcat(in->p, root, "/", name, NULL);

    if (strstr(name, "${")) {
        reader->missing++;
        note(in, apr_psprintf(reader->pool, "%s is not followed: its value is "
                              "not known here", name));
        return;
    }
    in->is_optional = is_optional;
    in->is_relative = *name != '/';
    if (apr_fnmatch_test(path) && strlen(path) < APR_PATH_MAX) {
        include_pattern(in, *path == '/' ? "/" : "", path + strspn(path, "/"),
                        in->p);
    }
    else {
        include_path(in, path);
    }
}

/* ----- a file ----- */

static void set_server_root(input_t *in, const char *args)
{
    apr_array_header_t *list = staplectl_args_split(args, NULL,
                                                    in->reader->pool);

    if (list->nelts && !strstr(APR_ARRAY_IDX(list, 0, const char *), "${")) {
        in->reader->server_root = APR_ARRAY_IDX(list, 0, const char *);
    }
}

static void pass_line(input_t *in, const char *text, const char *name,
                      const char *args, staplectl_dialect_e dialect)
{
    staplectl_line_t line;

    line.file = in->file;
    line.number = in->first;
    line.text = text;
    line.name = name;
    line.args = args;
    line.section = in->section;
    line.dialect = dialect;
    in->reader->visit(in->reader->baton, &line);
}

/* Define, where it is certain that it is read; where it is not, what stood
 * before is no longer known either. */
static void read_define(input_t *in, const char *args, int is_undefine)
{
    apr_pool_t *p = in->reader->pool;
    apr_array_header_t *list = staplectl_args_split(args, NULL, p);
    const char *value = list->nelts > 1 ? APR_ARRAY_IDX(list, 1, const char *)
                                        : "";

    if (list->nelts) {
        apr_hash_set(in->reader->defines, APR_ARRAY_IDX(list, 0, const char *),
                     APR_HASH_KEY_STRING,
                     !is_undefine && staplectl_section_is_certain(in->section)
                     ? value : NULL);
    }
}

/* Text with the values of each Define in place of its ${NAME}. */
static const char *expand(const input_t *in, const char *text)
{
    apr_array_header_t *parts = apr_array_make(in->p, 4, sizeof(const char *));
    const char *at = text;

    while ((at = strstr(at, "${"))) {
        const char *end = strchr(at, '}');
        const char *value = end ? apr_hash_get(in->reader->defines, at + 2,
                                               end - at - 2) : NULL;

        if (value && *value) {
            APR_ARRAY_PUSH(parts, const char *)
                = apr_pstrmemdup(in->p, text, (apr_size_t)(at - text));
            APR_ARRAY_PUSH(parts, const char *) = value;
            text = end + 1;
        }
        at = end ? end + 1 : at + 2;
    }
    APR_ARRAY_PUSH(parts, const char *) = text;
    return apr_array_pstrcat(in->p, parts, 0);
}

static void read_directive(input_t *in, const char *text)
{
    const char *args = text;
    const char *name;

    while (*args && !apr_isspace(*args)) {
        args++;
    }
    name = apr_pstrmemdup(in->p, text, (apr_size_t)(args - text));
    while (apr_isspace(*args)) {
        args++;
    }
    args = strstr(args, "${") && apr_hash_count(in->reader->defines)
           ? expand(in, args) : args;
    if (!strcasecmp(name, "ServerRoot")) {
        set_server_root(in, args);
    }
    else if (!strcasecmp(name, "Define") || !strcasecmp(name, "UnDefine")) {
        read_define(in, args, apr_tolower(*name) == 'u');
    }
    pass_line(in, text, name, args, HTTPD);
    if (in->reader->follows && !staplectl_section_skipped(in->section)
        && (!strcasecmp(name, "Include")
            || !strcasecmp(name, "IncludeOptional"))) {
        follow(in, args, name[7] != '\0');
    }
}

/* Whether a line belongs to another language, up to the end of its section. */
static int is_code(const input_t *in, const char *text)
{
    const staplectl_section_t *section
        = staplectl_section_find(in->section, STAPLECTL_SECTION_CODE);

    return section
           && (strncmp(text, "</", 2)
               || strncasecmp(text + 2, section->name, strlen(section->name)));
}

static void read_httpd(input_t *in)
{
    const char *text;

    while (may_go_on(in) && (text = take_line(in))) {
        if (!*text || *text == '#' || is_code(in, text)) {
            continue;
        }
        if (*text == '<' && text[1] == '/') {
            close_section(in, text + 2);
        }
        else if (*text == '<' && count_open(in->section) >= NESTED_MAX) {
            skip_rest(in);
        }
        else if (*text == '<') {
            open_section(in, text + 1);
        }
        else {
            read_directive(in, text);
        }
    }
    check_closed(in);
}

static void read_foreign(input_t *in, staplectl_dialect_e dialect)
{
    char *text;
    apr_size_t len;

    for (in->first = in->number;
         may_go_on(in) && take_physical(in, &text, &len);
         in->first = in->number) {
        text[len] = '\0';
        text += strspn(text, " \t");
        if (*text && *text != '#' && strncmp(text, "<!--", 4)) {
            pass_line(in, text, "", "", dialect);
        }
    }
}

/* The longest physical line; continued ones are shorter than their file. */
static int has_endless_line(const char *text, apr_size_t len)
{
    while (len > LINE_MAX_LEN) {
        const char *feed = memchr(text, '\n', LINE_MAX_LEN);

        if (!feed) {
            return 1;
        }
        len -= (apr_size_t)(feed + 1 - text);
        text = feed + 1;
    }
    return 0;
}

const char *staplectl_reader_text(staplectl_reader_t *reader,
                                  const char *file, char *text,
                                  apr_size_t len,
                                  const staplectl_section_t *section,
                                  int depth)
{
    staplectl_dialect_e dialect;
    input_t in;

    if (memchr(text, '\0', len)) {
        return "there are NUL bytes in it: no configuration, or not in a "
               "character set that httpd reads";
    }
    if (has_endless_line(text, len)) {
        return "a line is longer than httpd reads (16 MB)";
    }
    memset(&in, 0, sizeof(in));
    in.reader = reader;
    in.file = file;
    in.at = text;
    in.end = text + len;
    in.number = in.first = 1;
    in.depth = depth;
    in.outer = in.section = section;
    apr_pool_create(&in.p, reader->pool);
    if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
        in.at += 3;
        note(&in, "the file begins with a byte order mark: httpd does not "
                  "start; save it without");
    }
    dialect = depth ? HTTPD
              : staplectl_dialect_guess(in.at, (apr_size_t)(in.end - in.at));
    if (dialect == HTTPD) {
        read_httpd(&in);
    }
    else {
        read_foreign(&in, dialect);
    }
    apr_pool_destroy(in.p);
    return NULL;
}

/* ----- files ----- */

static const char *read_whole(apr_file_t *in, char **text, apr_size_t *len,
                              apr_pool_t *p)
{
    apr_size_t room = 65536;
    apr_status_t rv = APR_SUCCESS;

    *text = apr_palloc(p, room);
    for (*len = 0; rv == APR_SUCCESS;) {
        apr_size_t got = room - *len - 1;

        rv = apr_file_read_full(in, *text + *len, got, &got);
        *len += got;
        if (rv == APR_SUCCESS && room >= FILE_MAX) {
            return "it is larger than 64 MB: no configuration";
        }
        if (rv == APR_SUCCESS) {
            char *larger = apr_palloc(p, room * 2);

            memcpy(larger, *text, *len);
            *text = larger;
            room *= 2;
        }
    }
    (*text)[*len] = '\0';
    return APR_STATUS_IS_EOF(rv) ? NULL : "it cannot be read";
}

/* A pipe is read if the user named it, never if a file did. */
static const char *open_file(apr_file_t **file, const char *path,
                             int is_named, apr_pool_t *p)
{
    apr_finfo_t info;
    apr_status_t rv = apr_stat(&info, path, APR_FINFO_TYPE, p);

    if (rv != APR_SUCCESS && rv != APR_INCOMPLETE) {
        return staple_text_error(rv, p);
    }
    if (info.filetype == APR_DIR) {
        return "it is a directory; name the files in it";
    }
    if (info.filetype != APR_REG && !(is_named && info.filetype == APR_PIPE)) {
        return "it is no file";
    }
    rv = apr_file_open(file, path, APR_FOPEN_READ | APR_FOPEN_BUFFERED,
                       APR_FPROT_OS_DEFAULT, p);
    return rv == APR_SUCCESS ? NULL : staple_text_error(rv, p);
}

/* What a file is read inside of, by its name. */
static const staplectl_section_t *place_of(staplectl_reader_t *reader,
                                           const char *path,
                                           const staplectl_section_t *outer)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    int is_htaccess = !strcmp(name, ".htaccess");
    staplectl_section_t *section;

    if (!is_htaccess
        && (outer || !(reader->is_inside_vhost || strstr(path, "/userdata/")
                       || !strncmp(path, "userdata/", 9)))) {
        return outer;
    }
    section = apr_pcalloc(reader->pool, sizeof(*section));
    section->kind = is_htaccess ? STAPLECTL_SECTION_DIRECTORY
                                : STAPLECTL_SECTION_VHOST;
    section->name = is_htaccess ? ".htaccess" : "VirtualHost";
    section->arg = "";
    section->file = path;
    section->parent = outer;
    return section;
}

static const char *load_file(staplectl_reader_t *reader, const char *path,
                             const staplectl_section_t *section, int depth)
{
    const char *name = apr_pstrdup(reader->pool, path);
    const char *wrong;
    apr_file_t *file = NULL;
    apr_size_t len = 0;
    apr_pool_t *p;
    char *text = NULL;

    if (depth > DEPTH_MAX) {
        return "there are too many includes in each other";
    }
    if (!reader->deadline) {
        reader->deadline = apr_time_now() + SPAN_MAX;
    }
    if (reader->files >= FILES_MAX || reader->bytes > BYTES_MAX) {
        staplectl_reader_stop(reader, path, 0, "there are too many files, or "
                              "they are too large");
    }
    if (reader->is_stopped) {
        return NULL;
    }
    apr_pool_create(&p, reader->pool);
    wrong = open_file(&file, path, depth == 0, p);
    if (!wrong) {
        wrong = read_whole(file, &text, &len, p);
        apr_file_close(file);
    }
    if (!wrong) {
        reader->bytes += len;
        apr_hash_set(reader->seen, name, APR_HASH_KEY_STRING, name);
        APR_ARRAY_PUSH(reader->open, const char *) = name;
        wrong = staplectl_reader_text(reader, name, text, len,
                                      place_of(reader, name, section), depth);
        apr_array_pop(reader->open);
        reader->files += !wrong;
    }
    wrong = wrong ? apr_pstrdup(reader->pool, wrong) : NULL;
    apr_pool_destroy(p);
    return wrong;
}

/* A path without its last part. */
static const char *directory_of(const char *path, apr_pool_t *p)
{
    const char *slash = strrchr(path, '/');

    if (!slash) {
        return ".";
    }
    return slash == path ? "/"
                         : apr_pstrmemdup(p, path, (apr_size_t)(slash - path));
}

const char *staplectl_reader_file(staplectl_reader_t *reader,
                                  const char *path)
{
    const char *wrong;

    if (apr_hash_get(reader->seen, path, APR_HASH_KEY_STRING)) {
        return NULL;
    }
    if (!reader->base) {
        reader->base = directory_of(path, reader->pool);
    }
    wrong = load_file(reader, path, NULL, 0);
    reader->failures += wrong != NULL;
    return wrong;
}
