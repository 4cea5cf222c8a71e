# Licensed under the Apache License, Version 2.0; see LICENSE.

# Names that only the server under test resolves, by t/tools/names.c:
#
#   my $names = Staple::Names->new('two.test' => '127.0.0.2 127.0.0.3');
#   my $httpd = Staple::Httpd->new(names => $names, ...);
#   $names->set('two.test' => 'hang');     # at any time
#   $names->count('two.test')              # look-ups so far
#
# What a name may have: addresses in their order, `turn` before them (round
# robin), `after MS` before them, `hang` (until it is set to something else),
# `fail noname`, `fail again`, `fail fail`.

package Staple::Names;

use strict;
use warnings;

use Staple::Work qw(work_dir build_dir read_file write_file);

my $made = 0;

# Why there is no such resolver here; undef: there is.
sub missing
{
    return -e library() ? undef : 'no ' . library();
}

sub library { return build_dir() . '/t/tools/.libs/names.so' }

sub new
{
    my ($class, %names) = @_;
    my $file = work_dir() . '/names' . ++$made;
    my $self = bless { file => $file, names => {} }, $class;

    # Children of the server write to it, under an account of their own.
    write_file("$file.log", '');
    chmod 0666, "$file.log";
    return $self->set(%names);
}

# Say what names have; others stay as they are. undef: the system's answer.
sub set
{
    my ($self, %names) = @_;

    for my $name (keys %names) {
        if (defined $names{$name}) { $self->{names}{$name} = $names{$name} }
        else                       { delete $self->{names}{$name} }
    }
    write_file("$self->{file}.new",
               join '', map { "$_ $self->{names}{$_}\n" }
                        sort keys %{ $self->{names} });
    rename "$self->{file}.new", $self->{file}
        or die "cannot rename $self->{file}: $!\n";
    return $self;
}

# How often the server has looked a name up.
sub count
{
    my ($self, $name) = @_;

    return scalar(() = $self->askers($name));
}

# The uids that have looked a name up, one for each time.
sub askers
{
    my ($self, $name) = @_;

    return read_file("$self->{file}.log") =~ /^\Q$name\E (\d+)$/mg;
}

# For Staple::Httpd: what the server's environment has.
sub env { return (STAPLE_NAMES => $_[0]{file}) }

1;
