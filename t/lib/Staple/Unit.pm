# Licensed under the Apache License, Version 2.0; see LICENSE.

# The C unit tests under prove: the wrapper becomes the program, which speaks
# TAP itself.

package Staple::Unit;

use strict;
use warnings;

use Staple::Work qw(build_dir source_dir);

# Run t/unit/NAME, or t/unit/NAME/NAME if it has a folder. It finds its data
# with STAPLE_SRCDIR.
sub run
{
    my ($name) = @_;
    my $program = build_dir() . "/t/unit/$name";

    $program .= "/$name" if -d $program;

    $ENV{STAPLE_SRCDIR} //= source_dir();
    exec { $program } $program or die "cannot run $program: $!\n";
}

1;
