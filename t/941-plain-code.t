# Licensed under the Apache License, Version 2.0; see LICENSE.

# Three habits of the C sources: no choice within a choice (a ?: inside another
# one), no function with more than six parameters, no assignment through a
# pointer that a choice made. Comments and strings do not count, nor do
# functions whose parameters somebody else has defined.

use strict;
use warnings;

use File::Find qw(find);
use FindBin;
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

# ----- the sources -----

my @sources = sources();
my (@chained, @long, @chosen);

for my $path (@sources) {
    my $code = code_of($path);

    push @chained, map { "$path:$_" } chained($code);
    push @long, map { "$path: $_ parameters" } long_lists($code);
    push @chosen, map { "$path:$_" } chosen_targets($code);
}
cmp_ok(scalar @sources, '>', 150, 'the sources were found');
is_deeply(\@chained, [], 'no choice within a choice');
is_deeply(\@long, [], 'no function has more than six parameters');
is_deeply(\@chosen, [], 'no assignment through a chosen pointer');

done_testing();
