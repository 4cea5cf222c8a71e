/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLECTL_LINT_H
#define STAPLECTL_LINT_H

/*
 * The inside of `staplectl lint`: what mod_staple will make of the stapling
 * lines of a configuration. Its files:
 *
 *   staplectl/lint/lint.c     the command: files in, verdicts out, exit status
 *   staplectl/lint/read.c     files become lines, each with its section
 *   staplectl/lint/section.c  what a section means for the lines in it
 *   staplectl/lint/table.c    what is known of each directive: the one table
 *   staplectl/lint/value.c    what a directive may be given
 *   staplectl/lint/macro.c    what a <Macro> becomes where it is used
 *   staplectl/lint/judge.c    a line becomes a verdict
 *   staplectl/lint/foreign.c  settings of nginx, HAProxy and LiteSpeed
 *   staplectl/lint/print.c    verdicts become text or JSON
 *
 * httpd itself is not asked and no module is loaded, so fragments and files of
 * other machines can be looked at; t/553 holds "illegal" against httpd -t.
 *
 * One thread. Everything lives in the pool that it was given.
 */

#include <apr_hash.h>
#include <apr_pools.h>
#include <apr_tables.h>

#include "staple_magic.h"
#include "staple_value.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What becomes of a line, in order of trouble. */
typedef enum {
    STAPLECTL_LINT_KEPT,        /* it means what it meant */
    STAPLECTL_LINT_CHANGED,     /* it means something else than with mod_ssl */
    STAPLECTL_LINT_SHADOWED,    /* a later line of the same context holds */
    STAPLECTL_LINT_IGNORED,     /* it has no effect */
    STAPLECTL_LINT_CONFLICTING, /* another line stands against it */
    STAPLECTL_LINT_ILLEGAL      /* httpd does not start with it */
} staplectl_lint_verdict_e;

#define STAPLECTL_LINT_VERDICTS (STAPLECTL_LINT_ILLEGAL + 1)

/** A verdict as one word: "kept". */
const char *staplectl_lint_word(staplectl_lint_verdict_e verdict);

/* ----- staplectl/lint/section.c ----- */

/** What a section does to the lines in it. */
typedef enum {
    STAPLECTL_SECTION_CONDITION, /* <IfModule>: all of them hold, or none */
    STAPLECTL_SECTION_VHOST,     /* <VirtualHost>: a server of its own */
    STAPLECTL_SECTION_DIRECTORY, /* <Directory>, <If>, .htaccess: settings of
                                    servers are refused */
    STAPLECTL_SECTION_MACRO,     /* <Macro>: they hold where it is used */
    STAPLECTL_SECTION_DOMAIN,    /* <MDomainSet>: as outside, but mod_md's */
    STAPLECTL_SECTION_CODE,      /* <Perl>: they are no directives */
    STAPLECTL_SECTION_OTHER      /* not known */
} staplectl_section_e;

/** An open section; NULL is server level. Lives as long as the lines. */
typedef struct staplectl_section_t {
    const struct staplectl_section_t *parent;
    staplectl_section_e kind;
    const char *name; /* "VirtualHost", as written */
    const char *arg;  /* "*:443", or "" */
    const char *file; /* where it is opened */
    int line;         /* 0: nowhere, the file is known to be read inside it */
    int truth;        /* of <IfDefine>: 1: it holds, as a Define above says, -1:
                         it does not, 0: not known */
} staplectl_section_t;

/** What a section of this name does; any case. */
staplectl_section_e staplectl_section_kind(const char *name);

/** The nearest enclosing section of a kind, or NULL. */
const staplectl_section_t *staplectl_section_find(
    const staplectl_section_t *section, staplectl_section_e kind);

/** The section that makes a line a server's own: <VirtualHost> or <Macro>;
 * NULL: it is the main server's. */
const staplectl_section_t *staplectl_section_server(
    const staplectl_section_t *section);

/** The enclosing condition that is false in every httpd that has mod_staple,
 * or NULL. */
const staplectl_section_t *staplectl_section_skipped(
    const staplectl_section_t *section);

/** Whether a section is in no condition that may hold or not, and in no macro:
 * what stands in it is read in any case. */
int staplectl_section_is_certain(const staplectl_section_t *section);

/** How a later line of the same server stands to an earlier one. */
typedef enum {
    STAPLECTL_READ_ALWAYS,    /* it is read whenever the earlier one is */
    STAPLECTL_READ_SOMETIMES, /* that depends on a condition */
    STAPLECTL_READ_NEVER      /* only where the earlier one is not */
} staplectl_read_e;

/** @param condition set for SOMETIMES: the one it depends on */
staplectl_read_e staplectl_section_compare(
    const staplectl_section_t *earlier, const staplectl_section_t *later,
    const staplectl_section_t **condition);

/** "<VirtualHost *:443>", or "server level". */
const char *staplectl_section_text(const staplectl_section_t *section,
                                   apr_pool_t *p);

/* ----- staplectl/lint/read.c ----- */

/** Whose language a file is in. */
typedef enum {
    STAPLECTL_DIALECT_HTTPD,
    STAPLECTL_DIALECT_NGINX,
    STAPLECTL_DIALECT_HAPROXY,
    STAPLECTL_DIALECT_LITESPEED
} staplectl_dialect_e;

/** One line of configuration. The strings live as long as the call of the
 * function that gets it, file and section as long as the reader. */
typedef struct staplectl_line_t {
    const char *file;
    int number;       /* of its first line, where lines are continued */
    const char *text; /* without white space around it */
    const char *name; /* of the directive; "" in dialects other than httpd's */
    const char *args; /* what follows the name, with the values of a Define in
                         place of its ${NAME} */
    const staplectl_section_t *section;
    staplectl_dialect_e dialect;
} staplectl_line_t;

/** Something worth knowing that is no verdict on a stapling line. */
typedef struct staplectl_note_t {
    const char *file; /* NULL: of no file in particular */
    int line;
    const char *text;
} staplectl_note_t;

/** What reads, file after file, as httpd reads includes. */
typedef struct staplectl_reader_t {
    apr_pool_t *pool;
    void (*visit)(void *baton, const staplectl_line_t *line);
    void *baton;
    const char *root;        /* given by the user: overrules ServerRoot */
    const char *server_root; /* ServerRoot, as read; NULL: not read yet */
    const char *base;        /* where relative paths begin if both are NULL */
    int is_inside_vhost;     /* the files named are read inside of one */
    int follows;             /* whether Include is followed */
    int files;               /* read so far */
    int failures;            /* files that are there and could not be read */
    int missing;             /* includes that led nowhere */
    int places;              /* looked at by includes so far */
    int nested;              /* directories that are being gone through, each
                                in the one before */
    apr_size_t bytes;        /* read so far */
    apr_hash_t *seen;        /* path -> path: files read so far */
    apr_hash_t *defines;     /* name -> value: each Define that is certain */
    apr_array_header_t *open; /* const char *: files that are being read */
    apr_array_header_t *directories; /* apr_finfo_t: likewise */
    apr_time_t deadline;     /* when to stop; 0: not begun yet */
    int is_stopped;          /* a limit was reached: nothing more is read */
    apr_array_header_t *notes; /* staplectl_note_t */
} staplectl_reader_t;

staplectl_reader_t *staplectl_reader_make(
    void (*visit)(void *baton, const staplectl_line_t *line), void *baton,
    apr_pool_t *p);

/**
 * Read a file that the user named, and all that it includes. One that an
 * earlier one has included is not read again.
 * @return NULL, or why it cannot be read
 */
const char *staplectl_reader_file(staplectl_reader_t *reader,
                                  const char *path);

/**
 * Read the text of a file; pure but for what it includes.
 * @param text changed while it is read, len bytes and a NUL
 * @return NULL, or why it is no configuration
 */
const char *staplectl_reader_text(staplectl_reader_t *reader,
                                  const char *file, char *text,
                                  apr_size_t len,
                                  const staplectl_section_t *section,
                                  int depth);

/** Stop reading, with a note of the reason (which ends "the rest is not
 * read"); once. */
void staplectl_reader_stop(staplectl_reader_t *reader, const char *file,
                           int line, const char *why);

/** The directory where relative paths begin; NULL: not known. */
const char *staplectl_reader_root(const staplectl_reader_t *reader);

/** The first 10000 are kept. */
void staplectl_note(apr_array_header_t *notes, const char *file, int line,
                    const char *text);

/* ----- staplectl/lint/table.c ----- */

/** Whose directive it is. */
typedef enum {
    STAPLECTL_OF_SSL,    /* mod_ssl's, read by both */
    STAPLECTL_OF_STAPLE, /* mod_staple's alone */
    STAPLECTL_OF_MD      /* mod_md's */
} staplectl_owner_e;

/** What it may be given. */
typedef enum {
    STAPLECTL_VALUE_WORD,
    STAPLECTL_VALUE_SPAN,
    STAPLECTL_VALUE_AGE,
    STAPLECTL_VALUE_COUNT,
    STAPLECTL_VALUE_URL,
    STAPLECTL_VALUE_PROXY,
    STAPLECTL_VALUE_CACHE,
    STAPLECTL_VALUE_SHARE,
    STAPLECTL_VALUE_NETWORKS,
    STAPLECTL_VALUE_PATH,
    STAPLECTL_VALUE_PATHS,
    STAPLECTL_VALUE_PROGRAM,
    STAPLECTL_VALUE_ANY /* another module's: not looked at */
} staplectl_value_e;

/** When its meaning differs from that with mod_ssl alone. */
typedef enum {
    STAPLECTL_CHANGES_NEVER,
    STAPLECTL_CHANGES_ALWAYS,
    STAPLECTL_CHANGES_UNLESS_OFF /* neither for "off" nor for 0 */
} staplectl_changes_e;

/** What is known of a directive. */
typedef struct staplectl_directive_t {
    const char *name;
    staplectl_owner_e owner;
    int is_main;          /* server level only, not in <VirtualHost> */
    staplectl_value_e kind;
    const char *accepted; /* words ("on or off"), the least time ("1ms"), the
                             numbers ("1 to 1024"); NULL: by its kind */
    staplectl_changes_e changes;
    const char *ssl;      /* what mod_ssl does; NULL: it does not know it */
    const char *staple;   /* what mod_staple does */
    const char *off;      /* the same for "off"; NULL: no difference */
} staplectl_directive_t;

/** The table, up to an entry without name. */
extern const staplectl_directive_t staplectl_directives[];

/** Any case. @return NULL: there is none */
const staplectl_directive_t *staplectl_directive_find(const char *name);

/** Whether a name that is in no table was meant to be a stapling directive. */
int staplectl_directive_is_meant(const char *name);

/** The known name that was probably meant, or NULL. */
const char *staplectl_directive_nearest(const char *name);

/* ----- staplectl/lint/value.c ----- */

/** The arguments as httpd takes them apart: const char *, up to an empty one.
 * @param rest if not NULL, set to what follows the first one */
apr_array_header_t *staplectl_args_split(const char *args, const char **rest,
                                         apr_pool_t *p);

/**
 * What becomes of a directive's arguments; what depends on the machine
 * (programs, files, loaded modules) is not looked at, and neither is a value
 * with a ${VARIABLE} in it.
 * @param words what is wrong, or what is used instead; NULL for TAKEN
 */
staple_value_e staplectl_value_check(const staplectl_directive_t *directive,
                                     const char *args, const char **words,
                                     apr_pool_t *p);

/** Whether a value is "off" or 0; any case. */
int staplectl_value_is_off(const char *value);

/** The path in "shmcb:path(size)", "" for none; NULL: it is no ring. */
const char *staplectl_value_ring(const char *value, apr_pool_t *p);

/** Whether a value of SSLStaplingCache is a ring rather than a share. */
int staplectl_value_is_ring(const char *value);

/* ----- staplectl/lint/macro.c ----- */

/** A Use line. */
typedef struct staplectl_use_t {
    const char *file;
    int line;
    apr_array_header_t *args; /* const char * */
} staplectl_use_t;

/** Whether text has an argument of the macro that a section is in. */
int staplectl_macro_is_open(const staplectl_section_t *section,
                            const char *text, apr_pool_t *p);

/** The lines that use the macro that a section is in (staplectl_use_t); NULL:
 * none is known. */
const apr_array_header_t *staplectl_macro_uses(
    const apr_hash_t *uses, const staplectl_section_t *section, apr_pool_t *p);

/** Text with the arguments of a use in place of the macro's own. */
const char *staplectl_macro_expand(const staplectl_section_t *section,
                                   const staplectl_use_t *use,
                                   const char *text, apr_pool_t *p);

/** Keep a Use line. */
void staplectl_macro_keep(apr_hash_t *uses, const staplectl_line_t *line,
                          apr_pool_t *p);

/* ----- staplectl/lint/foreign.c ----- */

/** Whose language a text is, by its first lines. */
staplectl_dialect_e staplectl_dialect_guess(const char *text, apr_size_t len);

/** Whose settings they are: "nginx". */
const char *staplectl_dialect_name(staplectl_dialect_e dialect);

/** A stapling setting of another server. */
typedef struct staplectl_setting_t {
    staplectl_dialect_e dialect;
    const char *name;
    const char *here; /* what to do in httpd instead, a phrase */
} staplectl_setting_t;

/** The setting of this name in any language but httpd's, or NULL. */
const staplectl_setting_t *staplectl_setting_find(const char *name);

/** The next stapling setting in a line of another server's file, or NULL.
 * @param at where to look, moved behind what was found */
const staplectl_setting_t *staplectl_setting_next(staplectl_dialect_e dialect,
                                                  const char **at);

/* ----- staplectl/lint/judge.c ----- */

/** A stapling line and what becomes of it. */
typedef struct staplectl_finding_t {
    const char *file;
    int line;
    const char *text; /* as written */
    const char *name; /* as written; of the setting in a foreign file */
    const char *args;
    const char *value; /* the first argument, or "" */
    const staplectl_section_t *section;
    const staplectl_directive_t *directive; /* NULL: not known */
    const staplectl_setting_t *setting;     /* another server's */
    staplectl_dialect_e dialect;            /* of the file */
    staplectl_lint_verdict_e verdict;
    const char *why;
    const char *replaced; /* what is used instead of the value, or NULL */
    int is_open; /* the value has an argument of a macro in it, and is not the
                    same wherever that is used */
} staplectl_finding_t;

#define LINT_MAGIC 0x4C494E54u

/** All that was read. */
typedef struct staplectl_lint_t {
    staple_magic_t magic;
    apr_pool_t *pool;
    staplectl_reader_t *reader;
    apr_array_header_t *findings;  /* staplectl_finding_t, as read */
    apr_array_header_t *doc_roots; /* const char * */
    apr_hash_t *modules;           /* names given to LoadModule */
    apr_hash_t *uses;              /* a macro's name -> its staplectl_use_t */
    int is_whole; /* there is a ServerRoot or Listen: no mere fragment */
} staplectl_lint_t;

staplectl_lint_t *staplectl_lint_make(apr_pool_t *p);

/** Everything is read: fill in all verdicts, and add notes. */
void staplectl_lint_judge(staplectl_lint_t *lint);

/* ----- staplectl/lint/print.c ----- */

void staplectl_lint_print(const staplectl_lint_t *lint);
void staplectl_lint_print_json(const staplectl_lint_t *lint);

/* ----- staplectl/lint/lint.c ----- */

/** What the command line says. */
typedef struct staplectl_lint_options_t {
    const char *root;    /* --root, or NULL */
    int is_inside_vhost; /* --vhost */
    int is_json;
} staplectl_lint_options_t;

/**
 * Read files (const char *), print the verdicts.
 * @return the exit status: 0 nothing to do, 1 something means something else
 *         or nothing, 2 illegal or conflicting, 3 a file cannot be read
 */
int staplectl_lint(const apr_array_header_t *files,
                   const staplectl_lint_options_t *options, apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLECTL_LINT_H */
