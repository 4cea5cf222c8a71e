# Licensed under the Apache License, Version 2.0; see LICENSE.

# The messages and their manual agree: a tag marks one place, every message
# from WARNING up is in docs/messages.md with its level, and nothing else is.

use strict;
use warnings;

use File::Find qw(find);
use FindBin;
use Test::More;

my $top = "$FindBin::Bin/..";
my (%level, %places);

# The module's sources, wherever a room keeps them; not the tests' and not the
# command line's, which logs nothing.
my @sources;
find({ no_chdir => 1, wanted => sub {
    $File::Find::prune = 1
        if -d && m{^\Q$top\E/(?:\.|t$|staplectl$|packages$|mod_staple-)};
    push @sources, $_ if /\.c\z/;
} }, $top);
ok(scalar(grep { m{^\Q$top\E/[^/]+\.c$} } @sources) > 5,
   'the doors of the rooms were found');
ok(scalar(grep { m{^\Q$top\E/[^/]+/[^/]+\.c$} } @sources) > 20,
   'what lies behind the doors was found');

for my $path (@sources) {
    open(my $in, '<', $path) or die "$path: $!";
    my $text = do { local $/; <$in> };

    # The call, from APLOG_MARK to the message. A level may be chosen: by ?:,
    # there or where the variable is set, or by level_of.
    my ($chosen) = $text =~ /^static int level_of\(.*?\n\}/ms ? $& : '';
    while ($text =~ /ap_log_r?error\(APLOG_MARK,(.*?)"(STP\d{4})?/gs) {
        my ($args, $tag, $at) = ($1, $2, $-[0]);
        my ($levels) = $args =~ /^([^,]*),/;
        if ($levels =~ /^\s*level$/) {
            my ($set) = substr($text, 0, $at) =~ /.*int level = (.*?);/s;
            $levels = $set =~ /^level_of/ ? $chosen : $set;
        }
        my @levels = map { lc } $levels =~ /APLOG_(\w+)/g;

        ok($tag || !grep({ !/^trace/ } @levels),
           "$path: a message from DEBUG up has a tag ($levels)") if !$tag;
        next if !$tag;
        $places{$tag}++;
        push @{ $level{$tag} }, @levels;
    }
}

ok(scalar(keys %places) > 10, 'messages were found in the source');
is($places{$_}, 1, "$_ marks one place") for sort keys %places;

open(my $in, '<', "$top/docs/messages.md") or die "docs/messages.md: $!";
my %manual;
while (my $line = <$in>) {
    $manual{$1} = $2 if $line =~ /^## (STP\d{4}) \((.*)\)$/;
}

my %name = (warning => 'warning', err => 'error', crit => 'critical',
            emerg => 'emergency', alert => 'alert', notice => 'notice');
my @loud = qw(notice warning err crit alert emerg);

for my $tag (sort keys %level) {
    my %is = map { $_ => 1 } @{ $level{$tag} };
    my $names = join(', ', map { $name{$_} } grep { $is{$_} } @loud);
    if ($names) {
        is($manual{$tag}, $names, "$tag is in the manual, as it is");
    }
    else {
        ok(!exists $manual{$tag}, "$tag is quiet and not in the manual");
    }
}
ok($level{$_}, "$_ of the manual is in the source") for sort keys %manual;

done_testing();
