# Licensed under the Apache License, Version 2.0; see LICENSE.

# A responder's answers as bytes, for tests of StapleResponseFile.
#
#   use Staple::Answer;
#   my $der = answer($responder, $leaf, 'validity -60 3600');
#   put_file($path, pem($der));

package Staple::Answer;

use strict;
use warnings;

use parent 'Exporter';
use MIME::Base64 qw(encode_base64);
use Time::Local qw(timegm);
use Staple::Work qw(work_dir read_file write_file run);

our @EXPORT = qw(answer pem put_file times_of moment);

# What the responder says of a leaf while it is told `command` about it; its
# settings are those of before afterwards, but for that leaf's. More arguments
# are options of `openssl ocsp` that come before the certificate, as -sha256.
sub answer
{
    my ($responder, $leaf, $command, @options) = @_;
    my $path = work_dir() . '/answer.der';

    unlink $path;
    $responder->tell($command, $leaf);
    my ($exit, $out) = run('openssl', 'ocsp', '-issuer', $leaf->{issuer},
                           @options, '-cert', $leaf->{cert}, '-noverify', '-no_nonce',
                           '-url', $responder->url, '-respout', $path);
    $responder->tell('clear', $leaf);
    my $der = read_file($path);
    die "no answer: $out\n" if !length $der;
    return $der;
}

sub pem
{
    my ($der) = @_;

    return "-----BEGIN OCSP RESPONSE-----\n" . encode_base64($der)
        . "-----END OCSP RESPONSE-----\n";
}

# Put a file into place at once, as one that is not to be read half should be;
# with the given mode.
sub put_file
{
    my ($path, $content, $mode) = @_;

    write_file("$path.new", $content);
    chmod $mode // 0644, "$path.new";
    rename "$path.new", $path or die "cannot rename to $path: $!\n";
}

my %month;
@month{qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec)} = 0 .. 11;

# A time as openssl prints it, "Nov 21 07:07:14 2026 GMT", as seconds since 1970;
# 0: it is none.
sub moment
{
    my ($mon, $day, $h, $m, $s, $year) =
        $_[0] =~ /^(\w+) +(\d+) (\d+):(\d+):(\d+) (\d+) GMT/ or return 0;

    return timegm($s, $m, $h, $day, $month{$mon}, $year);
}

# thisUpdate and nextUpdate of a response, as openssl prints them.
sub times_of
{
    my ($der) = @_;
    my $path = write_file('times.der', $der);
    my (undef, $out) = run('openssl', 'ocsp', '-respin', $path, '-text',
                           '-noverify');

    return ($out =~ /This Update: (.+)/, $out =~ /Next Update: (.+)/);
}

1;
