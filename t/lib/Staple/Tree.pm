# Licensed under the Apache License, Version 2.0; see LICENSE.

# An example tree of docs/examples/ brought into a test's directory: the very
# files, with nothing changed but where they lie and the module they load.
#
#   my $tree = Staple::Tree->new($httpd, 'cpanel-ea4', '/run/apache2');
#   $tree->add('etc/apache2/conf/httpd.conf', $text);
#
# The tree's own directory, and those named, are moved below the server's; so
# are the paths in it. A file added goes through the same.

package Staple::Tree;

use strict;
use warnings;

use File::Find qw(find);
use File::Path qw(make_path);

use Staple::Work qw(build_dir read_file source_dir write_file);

sub new
{
    my ($class, $httpd, $name, @moved) = @_;
    my $from = source_dir() . "/docs/examples/$name";
    my $self = bless { dir => $httpd->dir, moved => \@moved }, $class;

    make_path($self->{dir} . $_) for @moved;
    find({ no_chdir => 1, wanted => sub {
        $self->add(substr($_, length "$from/"), read_file($_)) if -f;
    } }, $from);
    return $self;
}

# Write a file of the tree; returns its path.
sub add
{
    my ($self, $name, $text) = @_;
    my $module = $ENV{STAPLE_MODULE} // build_dir() . '/.libs/mod_staple.so';
    my ($top) = $name =~ m{^(etc/\w+|usr/local/\w+|\w+)};

    $text =~ s{\bmodules/mod_staple\.so}{$module}g;
    for my $path ("/$top", @{ $self->{moved} }) {
        $text =~ s{(?<![\w/.])\Q$path\E(?=[/"])}{$self->{dir}$path}g;
    }
    return write_file("$self->{dir}/$name", $text);
}

1;
