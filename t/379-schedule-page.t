# Licensed under the Apache License, Version 2.0; see LICENSE.

# The tables of docs/schedule.md are those that the code gives.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Staple::Work qw(build_dir source_dir read_file run);

my $page = read_file(source_dir() . '/docs/schedule.md');
my ($exit, $out) = run(build_dir() . '/t/unit/refresh', 'tables');

is($exit, 0, 'the program prints its tables');
for my $table (split /\n\n/, $out =~ s/\n\z//r) {
    my ($title) = $table =~ /^\| ([^|]+) \|/;

    like($page, qr/\n\n\Q$table\E\n\n/, "the table by \"$title\"")
        or diag($table);
}

done_testing;
