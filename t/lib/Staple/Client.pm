# Licensed under the Apache License, Version 2.0; see LICENSE.

# Real TLS clients that ask for a staple.
#
#   my $got = handshake($httpd, name => 'www.test', tls => '1.3');
#   is $got->{staple}, 'good';

package Staple::Client;

use strict;
use warnings;

use parent 'Exporter';
use Staple::Work qw(run read_file wait_for tool work_dir);

our @EXPORT = qw(handshake wait_for_staple curl gnutls);

sub _port { return ref $_[0] ? $_[0]->port : $_[0] }

# openssl s_client -status against an httpd (or a port). Options:
#   name     SNI                                  (www.test; undef: none)
#   tls      1.2 or 1.3                           (what the two agree on)
#   key      ec or rsa: which certificate to ask for
#   ca       a Staple::CA: the chain is verified
#   ask      whether to ask for a staple          (1)
#   args     more arguments, a list
# Returns a hash:
#   ok       whether the handshake came to its end
#   staple   none, good, revoked, unknown, or the response's error status,
#            e.g. "trylater (0x3)"
#   der      the stapled bytes; undef without any
#   chain    TLS 1.3: a list, for each certificate as it was sent: the bytes
#            stapled to it, or undef
#   this_update, next_update, serial (of the response, upper case hex)
#   protocol, cert (PEM of the server's certificate), verify, out
sub handshake
{
    my ($at, %o) = @_;
    my $name = exists $o{name} ? $o{name} : 'www.test';
    my @args = ('-connect', '127.0.0.1:' . _port($at), '-msg');
    my $version = $o{tls} // ($o{key} ? '1.2' : undef);

    push @args, '-status' if $o{ask} // 1;
    push @args, defined $name ? ('-servername', $name) : '-noservername';
    push @args, '-tls' . $version =~ tr/./_/r if defined $version;
    push @args, '-sigalgs', $o{key} eq 'rsa'
        ? 'rsa_pss_rsae_sha256:RSA+SHA256' : 'ECDSA+SHA256' if $o{key};
    push @args, '-CAfile', $o{ca}->root if $o{ca};
    my ($exit, $out) = run('openssl', 's_client', @args, @{ $o{args} // [] });

    return _parse($exit, $out);
}

sub _parse
{
    my ($exit, $out) = @_;
    my %got = (exit => $exit, out => $out, staple => 'none');

    $got{chain} = [_stapled_chain($out)];
    $got{der} = _stapled_bytes($out) // $got{chain}[0];
    ($got{protocol}) = $out =~ /^\s*Protocol\s*: (\S+)/m;
    ($got{protocol}) = $out =~ /^New, (\S+), Cipher/m if !$got{protocol};
    ($got{verify}) = $out =~ /^\s*Verify return code: (\d+)/m;
    ($got{cert}) = $out =~ /^(-----BEGIN CERT.*?-----END CERTIFICATE-----\n)/ms;
    ($got{this_update}) = $out =~ /^\s*This Update: (.+)$/m;
    ($got{next_update}) = $out =~ /^\s*Next Update: (.+)$/m;
    ($got{serial}) = $out =~ /^\s*Serial Number: ([0-9A-F]+)$/m;
    if ($out =~ /^\s*OCSP Response Status: (\S+) \((0x\w+)\)/m) {
        $got{staple} = $2 eq '0x0' ? 'without a status' : "$1 ($2)";
        ($got{staple}) = $1 if $out =~ /^\s*Cert Status: (\w+)/m;
    }
    elsif ($got{der}) {
        $got{staple} = 'not readable';
    }
    $got{ok} = $exit == 0 && $out =~ /^New, TLS.*Cipher is (?!\(NONE\))/m;
    return \%got;
}

# Handshake messages of one type out of s_client's -msg, as bytes.
sub _messages
{
    my ($out, $type) = @_;
    my $head = qr/^<<< [^\n]*Handshake[^\n]*, \Q$type\E\n/m;
    my @dumps = $out =~ /$head((?:    [0-9a-f ]+\n)+)/g;

    return map { pack 'H*', s/\s+//gr } @dumps;
}

# The OCSPResponse as it was sent in TLS 1.2: in CertificateStatus (RFC 6066 8).
sub _stapled_bytes
{
    my ($out) = @_;
    my ($message) = _messages($out, 'CertificateStatus');

    return defined $message ? substr($message, 8) : undef;
}

# In TLS 1.3, in an extension of each CertificateEntry (RFC 8446 4.4.2).
sub _stapled_chain
{
    my ($out) = @_;
    my ($m) = $out =~ /^<<< TLS 1\.3/m ? _messages($out, 'Certificate') : ();
    my @chain;

    return if !defined $m;
    my $at = 4 + 1 + ord(substr $m, 4, 1) + 3;
    while ($at < length $m) {
        my $cert_len = unpack 'N', "\0" . substr $m, $at, 3;

        $at += 3 + $cert_len;
        last if $at + 2 > length $m; # what openssl printed was cut off
        my $len = unpack 'n', substr $m, $at, 2;
        push @chain, _status_of(substr $m, $at + 2, $len);
        $at += 2 + $len;
    }
    return @chain;
}

# The status_request among extensions: its bytes, or undef.
sub _status_of
{
    my ($extensions) = @_;

    while (length $extensions) {
        my ($id, $len) = unpack 'nn', $extensions;

        return substr $extensions, 8, $len - 4 if $id == 5;
        $extensions = substr $extensions, 4 + $len;
    }
    return undef;
}

# Shake hands until the staple is as wanted; returns the last handshake.
sub wait_for_staple
{
    my ($at, $wanted, %o) = @_;
    my $seconds = delete $o{seconds};
    my $got;

    wait_for(sub { $got = handshake($at, %o); $got->{staple} eq $wanted },
             $seconds);
    return $got;
}

# curl --cert-status: exit status (0: the staple is good; 91: it is not, or
# there is none) and what it said. Options: name, ca, args.
sub curl
{
    my ($at, %o) = @_;
    my $name = $o{name} // 'www.test';
    my $port = _port($at);

    return run('curl', '-sS', '--noproxy', '*', '--cert-status', '--cacert',
               $o{ca}->root, '--resolve', "$name:$port:127.0.0.1",
               @{ $o{args} // [] }, "https://$name:$port/index.html");
}

# gnutls-cli, which refuses a must-staple certificate without a staple: exit
# status and what it said; nothing where it is not installed.
sub gnutls
{
    my ($at, %o) = @_;
    my $name = $o{name} // 'www.test';

    return if !tool('gnutls-cli');
    return run('gnutls-cli', '--ocsp', '--x509cafile', $o{ca}->root,
               '--sni-hostname', $name, '--verify-hostname', $name,
               '--port', _port($at), @{ $o{args} // [] }, '127.0.0.1');
}

1;
