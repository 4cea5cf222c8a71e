# Licensed under the Apache License, Version 2.0; see LICENSE.

# docs/clients.md says what clients make of each kind of staple: those that are
# installed here do just that, in the version that the page has, or in another
# one, which is compared with the last that it has.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Clients;
use Staple::Work qw(source_dir);

my $page = read_file(source_dir() . '/docs/clients.md');
my %said = map {
    my ($table) = $page =~ /<!-- $_: t\/bench\/clients -->\n(.*?)<!-- end -->/s;
    $_ => Staple::Clients::read_table($table // '');
} qw(plain must);
my %title = map { @$_ } @Staple::Clients::situations;

# "3.10" comes after "3.9".
sub by_version
{
    my ($x, $y) = map { [/(\d+)/g] } @_;

    while (@$x && @$y) {
        my $order = shift(@$x) <=> shift(@$y);
        return $order if $order;
    }
    return @$x <=> @$y;
}

sub row_of
{
    my ($kind, $client, $version) = @_;
    my $versions = $said{$kind}{$client} // {};
    my ($last) = sort { by_version($b, $a) } keys %$versions;

    return $versions->{$version} // $versions->{ $last // '' };
}

my $clients = Staple::Clients->new;
my %seen;
for my $row ($clients->rows) {
    $seen{ $row->{client} } = 1;
    if ($row->{is_browser} && !$row->{plain}{good}) {
        diag("$row->{client} loads nothing here");
        $seen{ $row->{client} } = 0;
        next;
    }
    for my $kind (qw(plain must)) {
        my $row_said = row_of($kind, $row->{client}, $row->{version});
        my $what = "$row->{client} $row->{version}, "
            . ($kind eq 'must' ? 'must-staple' : 'not must-staple');

        if (!ok($row_said, "$what: is in the table")) {
            next;
        }
        for my $situation (grep { defined $row->{$kind}{$_} }
                           map { $_->[0] } @Staple::Clients::situations) {
            is($row->{$kind}{$situation}, $row_said->{$situation},
               "$what: $title{$situation}");
        }
    }
}
for my $client (sort keys %{ $said{plain} }) {
    SKIP: {
        skip "$client is not installed, or does not run", 1 if !$seen{$client};
        pass("$client was tried");
    }
}

done_testing;
