# Licensed under the Apache License, Version 2.0; see LICENSE.

# What a server test needs in one line:
#
#   use FindBin;
#   use lib "$FindBin::Bin/lib";
#   use Staple;
#
# strict, warnings, Test::More, the harness' classes, and the functions of
# Staple::Work, Staple::Httpd and Staple::Client that tests use.

package Staple;

use strict;
use warnings;

use Test::More ();

use Staple::CA;
use Staple::Client ();
use Staple::Faults;
use Staple::Httpd ();
use Staple::Names;
use Staple::Responder;
use Staple::Store;
use Staple::Visitors;
use Staple::Work ();

sub import
{
    my ($class) = @_;

    strict->import;
    warnings->import;
    for my $package (qw(Test::More Staple::Client Staple::Httpd)) {
        $package->export_to_level(1, $package);
    }
    Staple::Work->export_to_level(1, 'Staple::Work',
                                  qw(work_dir write_file read_file run
                                     wait_for tool kill));
}

1;
