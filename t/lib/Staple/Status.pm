# Licensed under the Apache License, Version 2.0; see LICENSE.

# The status page in all its views, and what a test needs to read them.
#
#   my $httpd = Staple::Httpd->new(ports => 2, conf => stapling(status_conf()));
#   my $status = Staple::Status->new($httpd);
#   $status->json->{summary}, $status->cert('www.test')->{verdict}
#
# The page is at /staple of the server's second port, without TLS.

package Staple::Status;

use strict;
use warnings;

use parent 'Exporter';
use IO::Socket::INET;
use JSON::PP ();

use Staple::Work qw(read_file source_dir);

our @EXPORT = qw(status_conf);

# Lines for the main server.
sub status_conf
{
    return "<Location /staple>\nSetHandler staple-status\n</Location>";
}

sub new
{
    my ($class, $httpd) = @_;

    return bless { httpd => $httpd }, $class;
}

# One request, as it stands. Options: method, headers (a hash), body.
# Returns a hash: status, head (name in lower case to value), body.
sub ask
{
    my ($self, $query, %o) = @_;
    my $socket = IO::Socket::INET->new(
        PeerAddr => '127.0.0.1', PeerPort => $self->{httpd}->port(2),
        Timeout => 10) // die "no connection: $!\n";
    my %headers = (Host => 'status.test', Connection => 'close',
                   %{ $o{headers} // {} });

    $headers{'Content-Length'} = length $o{body} if defined $o{body};
    $socket->print(($o{method} // 'GET'), ' ', ($o{path} // '/staple'),
                   (defined $query ? "?$query" : ''), " HTTP/1.0\r\n",
                   (map { "$_: $headers{$_}\r\n" }
                    grep { defined $headers{$_} } sort keys %headers),
                   "\r\n", $o{body} // '');
    my $all = do { local $/; <$socket> } // '';
    my ($head, $body) = split /\r\n\r\n/, $all, 2;
    my ($status) = $head =~ m{^HTTP/1\.\d (\d+)};
    my %head = map { /^([^:]+): (.*)$/ ? (lc $1 => $2) : () }
        split /\r\n/, $head;

    return { status => $status, head => \%head, body => $body // '',
             raw => $head };
}

sub page { return $_[0]->ask($_[1])->{body} }

sub json
{
    my ($self, $query) = @_;

    return JSON::PP->new->decode(
        $self->page(defined $query ? "json&$query" : 'json'));
}

# How often the share took longer to answer than it is waited for (300 ms), or
# answered with an error: each time, the server goes on without it.
sub late_share
{
    my $share = $_[0]->json->{share}{numbers};

    return $share->{unanswered} + $share->{errors};
}

# A certificate by its name, out of ?json.
sub cert
{
    my ($self, $name) = @_;
    my ($cert) = grep { $_->{name} eq $name } @{ $self->json->{certificates} };

    return $cert;
}

# The form on a certificate's page, sent by a browser that is on it; what is
# given replaces a field, or a header.
sub act
{
    my ($self, $action, $id, %o) = @_;
    my ($token) = $self->page("id=$id") =~ /name="token" value="(\w+)"/;
    my %field = (action => $action, id => $id, token => $token // '',
                 %{ $o{field} // {} });

    return $self->ask(undef, method => 'POST',
        headers => { 'Content-Type' => 'application/x-www-form-urlencoded',
                     Origin => 'http://status.test',
                     'Sec-Fetch-Site' => 'same-origin',
                     %{ $o{headers} // {} } },
        body => join '&', map { "$_=$field{$_}" } sort keys %field);
}

# Hold data against a JSON schema: the keywords that ours uses. Returns what
# is wrong, or nothing.
sub against_schema
{
    my ($schema, $data, $root, $at) = @_;
    $root //= $schema;
    $at //= '$';
    if (my $ref = $schema->{'$ref'}) {
        my $target = $root;
        $target = $target->{$_} for split m{/}, $ref =~ s{^#/}{}r;
        return against_schema($target, $data, $root, $at);
    }
    my %known = map { $_ => 1 } qw($schema $defs title description type const
        enum pattern minimum required properties additionalProperties items);
    my @wrong = map { "$at: the schema's '$_' is not understood" }
        grep { !$known{$_} } keys %$schema;
    my $type = _type($data);

    if (my $types = $schema->{type}) {
        my @types = ref $types ? @$types : $types;
        return "$at is $type"
            if !grep { $_ eq $type
                       || $_ eq 'number' && $type eq 'integer' } @types;
    }
    push @wrong, "$at is not $schema->{const}"
        if exists $schema->{const} && $data ne $schema->{const};
    push @wrong, "$at is none of the enum"
        if $schema->{enum} && !grep { $_ eq $data } @{ $schema->{enum} };
    push @wrong, "$at does not match: $data" if $schema->{pattern}
        && $type eq 'string' && $data !~ /$schema->{pattern}/;
    push @wrong, "$at is too small" if exists $schema->{minimum}
        && $type =~ /^(?:integer|number)$/ && $data < $schema->{minimum};
    push @wrong, map { "$at has no $_" } grep { !exists $data->{$_} }
        @{ $schema->{required} // [] } if $type eq 'object';
    for my $key ($type eq 'object' ? sort keys %$data : ()) {
        my $sub = $schema->{properties}{$key}
            // $schema->{additionalProperties} // {};

        push @wrong, ref $sub eq 'HASH'
            ? against_schema($sub, $data->{$key}, $root, "$at.$key")
            : $sub ? () : "$at.$key is unknown";
    }
    if ($type eq 'array' && $schema->{items}) {
        push @wrong, against_schema($schema->{items}, $data->[$_], $root,
                                    "$at\[$_]") for 0 .. $#$data;
    }
    return @wrong;
}

sub _type
{
    my ($data) = @_;

    return 'null' if !defined $data;
    return 'object' if ref $data eq 'HASH';
    return 'array' if ref $data eq 'ARRAY';
    return 'boolean' if JSON::PP::is_bool($data);
    return 'string' if JSON::PP->new->allow_nonref->encode($data) =~ /^"/;
    return $data =~ /^-?\d+$/ ? 'integer' : 'number';
}

# The schema in docs/.
sub schema
{
    return JSON::PP->new->decode(
        read_file(source_dir() . '/docs/status.schema.json'));
}

# A browser reads the page without complaint only if it is well formed enough
# to be checked like this: every element that is opened is closed, in order.
sub html_is_balanced
{
    my ($html) = @_;
    my %void = map { $_ => 1 } qw(meta input br);
    my @open;

    $html =~ s{<style>.*?</style>}{}s;
    $html =~ s{<!DOCTYPE html>}{};
    while ($html =~ m{<(/?)([a-z0-9]+)((?:\s+[\w:-]+(?:="[^"<>]*")?)*)\s*(/?)>
                     |(<)}gx) {
        return "a stray <" . substr $html, pos($html), 40 if $5;
        if ($1) {
            my $was = pop @open // 'nothing';
            return "</$2> closes <$was>" if $was ne $2;
        }
        elsif (!$void{$2} && !$4) {
            push @open, $2;
        }
    }
    return @open ? "<@open> stays open" : undef;
}

1;
