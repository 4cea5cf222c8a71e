# Licensed under the Apache License, Version 2.0; see LICENSE.

# Five habits of the C sources: no line over 80 columns, no choice within a
# choice (a ?: inside another one), no function with more than six parameters, no
# assignment through a pointer that a choice made, no void pointer that becomes
# a pointer to a struct unless something compares what it is. Comments and
# strings do not count, nor do functions whose parameters somebody else has
# defined.

use strict;
use warnings;

use File::Find qw(find);
use FindBin;
use List::Util qw(uniq);
use Test::More;

my $top = "$FindBin::Bin/..";

# What stands in for a function of httpd, of a socache provider or of libc.
my %of_others = map { $_ => 1 } qw(ap_log_error_ ap_log_rerror_ getnameinfo
                                   fake_store fake_retrieve);

sub sources
{
    my @found;

    find({ no_chdir => 1, wanted => sub {
        my $path = $File::Find::name;

        $path =~ s{^\Q$top\E/}{};
        # a distribution and an installation that make check may have made
        $File::Find::prune = 1 if -d && $path =~ m{^(?:mod_staple-|\.git$)};
        push @found, $path if -f && $path =~ /\.[ch]$/;
    } }, $top);
    return sort @found;
}

# Only its line breaks are left of a text.
sub blank { return $_[0] =~ s/[^\n]/ /gr }

# A file without comments, directives of the preprocessor, strings, characters.
sub code_of
{
    my ($path) = @_;

    open(my $in, '<', "$top/$path") or die "$path: $!";
    local $/;
    my $text = <$in>;

    $text =~ s{/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'}
              { blank($&) }gsex;
    $text =~ s/^[ \t]*#(?:\\\n|[^\n])*/blank($&)/gem;
    return $text;
}

sub line_at { return 1 + (substr($_[0], 0, $_[1]) =~ tr/\n//) }

# The lines with a ? that stands in the same expression as an earlier one.
# Arguments of a call are expressions of their own; what is only in parentheses
# is not.
sub chained
{
    my ($code) = @_;
    my ($count, @outer, @lines) = (0);

    while ($code =~ /(\w\s*)?([()\[\]{}?;,])/g) {
        my ($word, $sign) = ($1, $2);

        if ($sign =~ /[(\[{]/) {
            push @outer, $count;
            $count = 0 if $word || $sign ne '(';
        }
        elsif ($sign =~ /[)\]}]/) {
            $count = pop(@outer) // 0;
        }
        elsif ($sign eq '?') {
            push @lines, line_at($code, pos $code) if $count++;
        }
        else {
            $count = 0;
        }
    }
    return @lines;
}

# How many parameters a parenthesised list has.
sub count_parameters
{
    my ($list) = @_;
    my ($depth, $n) = (0, 1);

    for my $sign ($list =~ /[(),]/g) {
        $depth++ if $sign eq '(';
        $depth-- if $sign eq ')';
        $n++ if $sign eq ',' && $depth == 1;
    }
    return $n;
}

# Definitions begin at the left margin, and so do prototypes; the name may stand
# in a later line than the type.
sub long_lists
{
    my ($code) = @_;
    my @found;

    while ($code =~ /^[A-Za-z_][\w\s*]*?\b(\w+)\s*
                     (\((?:[^(){};]++|(?2))*\))\s*(?=[{;]|__attribute__|STAPLE_)
                    /gmx) {
        my ($name, $n) = ($1, count_parameters($2));

        push @found, "$name: $n" if $n > 6 && !$of_others{$name};
    }
    return @found;
}

sub chosen_targets
{
    my ($code) = @_;
    my @lines;

    while ($code =~ /\*\([^();]*\?[^;]*?\)\s*=[^=]/g) {
        push @lines, line_at($code, $-[0]);
    }
    return @lines;
}

# What a void pointer may become without being compared: bytes, and types whose
# layout is asserted where they are declared.
my $bytes = qr/(?:unsigned )?char|header_t|board_t|child_t/;

# Where what comes back cannot have a magic, because the struct is not ours, or
# because its type is the same all over the world.
my %foreign = (
    'staple_config.c: basev' => 'the record that staple_config_create made',
    'staple_config.c: addv' => 'the record that staple_config_create made',
    'staple_config.c: field_at' => 'asserted by AT_OF',
);

# Members of structs, and results, that are void pointers: whoever has given
# them away compares what comes back.
my $given = qr/(?:->|\.)(?:baton|userdata|client_data|info)\b
               |apr_hash_this\(|apr_pool_userdata_get\(/x;

# Each "T *name = p" and "(T *)p" where p is a parameter of type void *, or one
# of the above. Comparisons of two elements for qsort, by_something, take what
# their array has.
sub unchecked_casts
{
    my ($code) = @_;
    my @found;

    while ($code =~ /^[A-Za-z_][\w\s*]*?\b(\w+)\s*
                     (\((?:[^(){};]++|(?2))*\))\s*
                     (\{(?:[^{}]++|(?3))*\})/gmx) {
        my ($function, $list, $body, $at) = ($1, $2, $3, $-[3]);
        my @voids = $list =~ /\bvoid \*(\w+)/g;
        my $source = join '|', map({ "\\b$_\\b(?!\\s*(?:->|\\[|\\())" } @voids),
                                $given;

        next if $function =~ /^by_/;
        while ($body =~ /(?:(\b\w+(?:\ \w+)?)\ \*(?:const\ )?\w+\ =\s+
                           |\((?:const\ )?(\w+(?:\ \w+)?)\ \*
                             (?:const\ \*)?\)\s*)
                         ((?:[\w.]|->)*?)($source)/gx) {
            my ($type, $what) = ($1 // $2, $4);

            next if $type =~ /^(?:const )?(?:$bytes|void)$/;
            push @found, line_at($code, $at + $-[0]) . " $what";
        }
    }
    return @found;
}

# Those of a file that are not among the foreign ones.
sub casts_of
{
    my ($path, $code) = @_;

    return grep { my ($what) = / (\S+)$/; !$foreign{"$path: $what"} }
           unchecked_casts($code);
}

sub wide_lines
{
    my ($path) = @_;

    my @wide;

    open(my $in, '<', "$top/$path") or die "$path: $!";
    while (my $line = <$in>) {
        chomp $line;
        push @wide, $. if length $line > 80;
    }
    return @wide;
}

# The numbers that structs are known by.
sub magics
{
    open(my $in, '<', "$top/$_[0]") or die "$_[0]: $!";
    return map { /^#define \w+_(?:MAGIC|RULE) (0x\w+)u$/ ? $1 : () } <$in>;
}

# ----- the rules find what they are to find -----

is(scalar(chained('x = a ? b : c ? d : e;')), 1, 'a choice within a choice');
is(scalar(chained('x = a ? (b ? c : d) : e;')), 1, '... in parentheses, too');
is(scalar(chained('f(a ? b : c, d ? e : f); x = g ? h(i ? j : k) : l;')), 0,
   'two arguments are two choices');
is_deeply([long_lists("static int\nf(int a, int b, int c, int d, int e,\n"
                      . "  int f, void g(int, int))\n{\n}\n")], ['f: 7'],
          'a seventh parameter');
is_deeply([long_lists("int f(int a, int b, int c, int d, int e, int f);\n")],
          [], 'six are not too many');
is(scalar(chosen_targets('*(a ? &b : &c) = d;')), 1, 'a chosen target');

is_deeply([unchecked_casts("static void\nf(void *baton)\n{\n"
                           . "    a_t *a = baton;\n}\n")], ['4 baton'],
          'a baton that is believed');
is_deeply([unchecked_casts("void f(const void *v)\n{\n"
                           . "    g(((const a_t *)v)->b);\n}\n")], ['3 v'],
          '... in an expression');
is_deeply([map { s/ .*//r }
           unchecked_casts("void f(event_t *e)\n{\n"
                           . "    a_t *a = e->baton;\n}\n")],
          [3], '... out of a struct');
is_deeply([unchecked_casts("void f(void *baton)\n{\n"
                           . "    const char *c = baton;\n"
                           . "    a_t *a = STAPLE_CAST(a_t, A_MAGIC, baton);\n"
                           . "    b_t *b = a->list;\n}\n")], [],
          'one that is compared, and bytes');

# ----- the sources -----

my @sources = sources();
my (@chained, @long, @chosen, @wide, @cast, @magic);

for my $path (@sources) {
    my $code = code_of($path);

    push @chained, map { "$path:$_" } chained($code);
    push @long, map { "$path: $_ parameters" } long_lists($code);
    push @chosen, map { "$path:$_" } chosen_targets($code);
    push @wide, map { "$path:$_" } wide_lines($path);
    next if $path =~ m{^t/};
    push @cast, map { "$path:$_" } casts_of($path, $code);
    push @magic, magics($path);
}
cmp_ok(scalar @sources, '>', 150, 'the sources were found');
is_deeply(\@chained, [], 'no choice within a choice');
is_deeply(\@long, [], 'no function has more than six parameters');
is_deeply(\@chosen, [], 'no assignment through a chosen pointer');
is_deeply(\@wide, [], 'no line has more than 80 columns');
is_deeply(\@cast, [], 'what a void pointer is is compared');
cmp_ok(scalar @magic, '>', 20, '... with a number');
is(scalar(uniq @magic), scalar @magic, '... that no other struct has');

done_testing();
